"""What is asked of versions in the phases of an operation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossrec.serving.releases.checks import CheckResult, check_golden, golden_requests, measure
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.converge import Trial
from crossrec.serving.releases.fleet import Limits
from crossrec.serving.releases.release import Release
from crossrec.serving.releases.replica import Replica
from crossrec.serving.releases.state import Kind, Operation, ReleaseState

_MOVING = (Kind.CANARY, Kind.PROMOTE, Kind.ROLLBACK)


@dataclass(frozen=True)
class Probing:
    """What is asked of a version on trial beyond its golden requests.

    Attributes:
      measured: Whether latency and errors are measured.
      requests: Recorded PredictRequest messages by model, asked beside the golden ones.
    """

    measured: bool = True
    requests: Mapping[str, Sequence[Any]] = field(default_factory=dict)


def no_trial() -> Trial:
    """Make a trial that asks nothing."""
    return Trial(lambda replica, model, version: CheckResult(0))


def golden_trial(context: Context, limits: Limits, versions: Sequence[tuple[str, int]]) -> Trial:
    """Make a trial of golden answers alone.

    Args:
      context: Where the versions lie.
      limits: For the tolerance.
      versions: Pairs of model and version that are always asked.

    Returns:
      The trial.
    """

    def check(replica: Replica, model: str, version: int) -> CheckResult:
        directory = context.version_dir(model, version)
        return CheckResult(check_golden(replica, model, version, directory, limits.tolerance))

    return Trial(check, versions)


def full_trial(context: Context, limits: Limits, target: Release, probing: Probing) -> Trial:
    """Make the trial of a release that may get a label: golden answers, then errors and latency.

    Args:
      context: Where the versions lie.
      limits: What it must keep.
      target: The release.
      probing: What it is asked.

    Returns:
      The trial; other versions are asked their golden requests where they have to be loaded.
    """
    golden = golden_trial(context, limits, target.versions)
    on_trial = target.by_model()

    def check(replica: Replica, model: str, version: int) -> CheckResult:
        compared = golden.check(replica, model, version)
        if on_trial.get(model) != version or not probing.measured:
            return compared
        requests = [*golden_requests(context.version_dir(model, version)), *probing.requests.get(model, ())]
        return dataclasses.replace(measure(replica, model, version, requests, limits), golden=compared.golden)

    return Trial(check, target.versions)


def trial_before_labels(context: Context, state: ReleaseState, operation: Operation) -> Trial:
    """Make the trial right before labels move; it also covers replicas that came back after the load.

    Args:
      context: Where the versions lie.
      state: For the limits.
      operation: The operation.

    Returns:
      The trial.
    """
    versions = operation.target.versions if operation.kind in _MOVING else ()
    return golden_trial(context, state.fleet.limits, versions)
