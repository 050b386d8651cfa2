"""Watching a canary while it has traffic, and taking it back when it is not good enough."""

from __future__ import annotations

import dataclasses
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from crossrec.serving.releases.checks import CheckResult, recorded_requests
from crossrec.serving.releases.commands import Options, connected, session, withdraw_canary
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.errors import CheckFailedError, ReplicaDownError, UsageError, WithdrawnError
from crossrec.serving.releases.release import Release
from crossrec.serving.releases.state import ReleaseState
from crossrec.serving.releases.trials import Probing, full_trial

_SHOWN = 300


@dataclass(frozen=True)
class Watch:
    """How long and how a canary is watched.

    Attributes:
      seconds: How long.
      every_seconds: Time between two looks.
      guard: Shell command that looks at the real traffic, such as a query of the metrics; another exit code than 0
        takes the canary back, and the end of its output is the reason. Empty for none.
    """

    seconds: float
    every_seconds: float = 10.0
    guard: str = ""

    def __post_init__(self) -> None:
        if self.seconds < 0 or not self.every_seconds > 0:
            raise UsageError(f"--watch {self.seconds:g} --every {self.every_seconds:g}: give times above 0, in seconds")


def watch_canary(
    context: Context,
    set_name: str,
    release: Release,
    watch: Watch,
    options: Options,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Look at a canary from time to time.

    On every replica that is up it must keep giving its golden answers, within the limits for errors and latency.

    Args:
      context: Where and by whom.
      set_name: The set.
      release: The canary.
      watch: How long and how.
      options: For the recorded requests.
      sleep: Waits for so many seconds.

    Returns:
      Number of looks. The watch also ends when somebody promotes or withdraws the canary.

    Raises:
      WithdrawnError: If the canary is not good enough; it is taken back.
      ReleaseError: If it cannot be watched or taken back.
    """
    end = time.monotonic() + watch.seconds
    looks = 0
    while True:
        state = context.require_state()
        current = state.release_set(set_name).canary
        if current is None or current.release != release:
            return looks
        failure = _look(context, state, release, options) or _ask_guard(watch.guard)
        looks += 1
        if failure:
            _take_back(context, set_name, release, failure)
        if time.monotonic() + watch.every_seconds > end:
            return looks
        sleep(watch.every_seconds)


def _look(context: Context, state: ReleaseState, release: Release, options: Options) -> str:
    path = options.requests
    requests = {} if path is None else {model: recorded_requests(path, model) for model, _ in release.versions}
    trial = full_trial(context, state.fleet.limits, release, Probing(True, requests))
    with connected(state) as replicas:
        for replica in replicas:
            for model, version in release.versions:
                try:
                    replica.require_up()
                    result = trial.check(replica, model, version)
                except ReplicaDownError:
                    continue
                except CheckFailedError as error:
                    return str(error)
                context.progress(f"{replica.target}: canary {version} answers: {_figures(result)}")
    return ""


def _figures(result: CheckResult) -> str:
    figures = dataclasses.asdict(result).items()
    return ", ".join(f"{name} {value:.4g}" for name, value in figures if value is not None)


def _ask_guard(command: str) -> str:
    if not command:
        return ""
    done = subprocess.run(command, shell=True, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        return ""
    said = (done.stdout + done.stderr).strip()[-_SHOWN:]
    return f"the guard {command!r} ended with code {done.returncode}: {said or 'it said nothing'}"


def _take_back(context: Context, set_name: str, release: Release, failure: str) -> None:
    with session(context, f"taking back canary {release} of {set_name}") as (state, replicas):
        current = state.release_set(set_name).canary
        if current is None or current.release != release:
            return
        outcome = withdraw_canary(context, state, set_name, replicas, "watched", failure)
    behind = f"; run `crossrec release reconcile` for {', '.join(outcome.behind)}" if outcome.behind else ""
    raise WithdrawnError(
        f"canary {release} of {set_name} was withdrawn: {failure}. Its label points at the stable release "
        f"{outcome.state.release_set(set_name).stable} now{behind}"
    )
