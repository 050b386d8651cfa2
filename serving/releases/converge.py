"""Bring one replica to what is wanted, in the only order that is safe.

Load what is missing while the labels stay, wait until it is AVAILABLE, ask and compare, move the labels, and only
then let go. A label that comes in the same reload as its version is refused; AVAILABLE alone proves nothing.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossrec.serving.releases.checks import CheckResult
from crossrec.serving.releases.errors import CorruptVersionError, LoadError, ReplicaError
from crossrec.serving.releases.fleet import Fleet
from crossrec.serving.releases.replica import Replica, VersionStatus
from crossrec.serving.releases.state import CANARY, STABLE
from crossrec.serving.releases.wanted import WantedModel, model_server_config

AVAILABLE = "AVAILABLE"
_POLL_SECONDS = 0.05
_LABEL_SECONDS = 5.0
_QUICK_SECONDS = 20.0
# Out of memory, and what a shut-down or an unload in between leaves: the version is not to blame.
_NOT_ITS_FAULT = ("RESOURCE_EXHAUSTED", "CANCELLED", "UNAVAILABLE")

Check = Callable[[Replica, str, int], CheckResult]
OnStep = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """What must hold before labels move.

    Attributes:
      check: Asks a version on a replica; raises CheckFailedError if it is bad.
      versions: Pairs of model and version that are asked also where they are loaded already.
    """

    check: Check
    versions: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True)
class Observed:
    """What a replica serves.

    Attributes:
      statuses: Status by version by model.
      labels: Version by label by model; labels that do not answer are left out.
    """

    statuses: Mapping[str, Mapping[int, VersionStatus]]
    labels: Mapping[str, Mapping[str, int]]

    def available(self, model: str) -> list[int]:
        """Return the versions of a model that answer, ascending."""
        return sorted(v for v, status in self.statuses.get(model, {}).items() if status.state == AVAILABLE)

    def agrees(self, wanted: Mapping[str, WantedModel]) -> bool:
        """Say whether a replica serves exactly what is wanted."""
        return all(
            self.available(model) == list(one.versions) and dict(self.labels.get(model, {})) == dict(one.labels)
            for model, one in wanted.items()
        )


@dataclass(frozen=True)
class ReplicaAnswer:
    """How a replica answered to a step.

    Attributes:
      target: Its address.
      outcome: "ok", "down" (it does not answer) or "failed".
      versions: Available versions by model, afterwards.
      labels: Version by label by model, afterwards.
      load_seconds: Time that a load took, by ``model/version``.
      checks: What the checks found, by ``model/version``.
      error: What went wrong.
    """

    target: str
    outcome: str = "ok"
    versions: Mapping[str, list[int]] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    load_seconds: Mapping[str, float] = field(default_factory=dict)
    checks: Mapping[str, CheckResult] = field(default_factory=dict)
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold, without what is empty."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value not in ("", {}, [])}


def observe(replica: Replica, models: Mapping[str, WantedModel]) -> Observed:
    """Look at a replica.

    Args:
      replica: The server.
      models: The models to look at, by name.

    Returns:
      What it serves.

    Raises:
      ReplicaDownError: If it does not answer.
      ReplicaError: If it refuses.
    """
    statuses = {model: replica.statuses(model) for model in models}
    labels: dict[str, dict[str, int]] = {}
    for model in models:
        known = {label: replica.labelled_version(model, label) for label in (STABLE, CANARY)} if statuses[model] else {}
        labels[model] = {label: version for label, version in known.items() if version is not None}
    return Observed(statuses, labels)


def converge(
    replica: Replica, wanted: Mapping[str, WantedModel], fleet: Fleet, trial: Trial, on_step: OnStep
) -> ReplicaAnswer:
    """Bring a replica to what is wanted.

    Args:
      replica: The server.
      wanted: What is wanted by model name.
      fleet: Root, other models and limits.
      trial: The check, asked for its versions and for every version that had to be loaded.
      on_step: Called with the name of each step when it is done.

    Returns:
      What it serves afterwards.

    Raises:
      ReplicaDownError: If it does not answer.
      LoadError: If it cannot load a version; labels are as they were.
      CheckFailedError: If a version is bad; labels are as they were.
      ReplicaError: If it refuses the configuration.
    """
    replica.require_up()
    before = observe(replica, wanted)
    missing = [(m, v) for m, one in wanted.items() for v in one.versions if v not in before.available(m)]
    load_seconds = {}
    if missing:
        load_seconds = _load(replica, wanted, before, missing, fleet)
        on_step(f"loaded {replica.target}")
    checks = {f"{m}/{v}": trial.check(replica, m, v) for m, v in dict.fromkeys([*missing, *trial.versions])}
    on_step(f"checked {replica.target}")
    _reload(replica, wanted, fleet, _QUICK_SECONDS)
    on_step(f"reloaded {replica.target}")
    after = _wait_for_labels(replica, wanted)
    return ReplicaAnswer(
        replica.target,
        versions={model: after.available(model) for model in wanted},
        labels=after.labels,
        load_seconds=load_seconds,
        checks=checks,
    )


def _load(
    replica: Replica, wanted: Mapping[str, WantedModel], before: Observed, missing: list[tuple[str, int]], fleet: Fleet
) -> dict[str, float]:
    """Load what is missing beside what answers now; labels stay where they are."""
    for model, version in missing:
        _raise_if_failed(replica, model, version, before.statuses[model], "earlier; it does not try again")
    interim = {}
    for model, one in wanted.items():
        labels = {label: v for label, v in before.labels[model].items() if v in before.available(model)}
        interim[model] = WantedModel(tuple(sorted({*one.versions, *labels.values()})), labels)
    begin = time.monotonic()
    end = begin + fleet.limits.load_timeout_seconds
    # The call waits for models that are new to the server, and returns at once for the others.
    is_new = any(not before.statuses[model] for model in wanted)
    try:
        _reload(replica, interim, fleet, fleet.limits.load_timeout_seconds if is_new else _QUICK_SECONDS)
    except ReplicaError:
        for model, version in missing:
            _raise_if_failed(replica, model, version, replica.statuses(model), "now")
        raise
    waiting, took = list(missing), {}
    while waiting:
        for model, version in list(waiting):
            statuses = replica.statuses(model)
            _raise_if_failed(replica, model, version, statuses, "now")
            if version in statuses and statuses[version].state == AVAILABLE:
                took[f"{model}/{version}"] = round(time.monotonic() - begin, 3)
                waiting.remove((model, version))
            elif time.monotonic() > end:
                state = statuses[version].state if version in statuses else "not found by the server"
                raise LoadError(
                    f"{replica.target}: {model} {version} is not AVAILABLE after "
                    f"{fleet.limits.load_timeout_seconds:g} s "
                    f"({state}); see that the server finds {fleet.server_root}/{model}/{version}, look into "
                    "its log, or "
                    "raise limits.load_timeout_seconds"
                )
        if waiting:
            time.sleep(_POLL_SECONDS)
    return took


def _raise_if_failed(
    replica: Replica, model: str, version: int, statuses: Mapping[int, VersionStatus], when: str
) -> None:
    status = statuses.get(version)
    if status is None or not status.error or status.state != "END":
        return
    message = f"{replica.target}: could not load {model} {version} ({when}): {status.error}"
    if status.error.startswith(_NOT_ITS_FAULT):
        raise LoadError(f"{message}; restart that server before you try this version again")
    raise CorruptVersionError(f"{message}; publish it again: a server tries a number once only")


def _reload(replica: Replica, wanted: Mapping[str, WantedModel], fleet: Fleet, timeout_seconds: float) -> None:
    config = model_server_config(wanted, fleet)
    # A server refuses an empty configuration; with nothing to serve there is nothing to say.
    if config.model_config_list.config:
        replica.reload(config, timeout_seconds)


def _wait_for_labels(replica: Replica, wanted: Mapping[str, WantedModel]) -> Observed:
    """Verify the labels. A server that polls an older models.config may undo them once more, so give it a moment."""
    end = time.monotonic() + _LABEL_SECONDS
    while True:
        after = observe(replica, wanted)
        wrong = [
            f"{model}:{label} answers as {after.labels[model].get(label, 'nothing')} instead of {version}"
            for model, one in wanted.items()
            for label, version in one.labels.items()
            if after.labels[model].get(label) != version
        ]
        if not wrong:
            return after
        if time.monotonic() > end:
            raise ReplicaError(
                f"{replica.target}: took the configuration, but {'; '.join(wrong)}; run `crossrec release reconcile`"
            )
        time.sleep(_POLL_SECONDS)
