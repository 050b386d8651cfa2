"""The commands that move releases: canary, promote, rollback, pin. Each is one operation under the store's lock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossrec.serving.releases.checks import recorded_requests
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.converge import AVAILABLE
from crossrec.serving.releases.errors import ConflictError, ReplicaDownError, UsageError
from crossrec.serving.releases.memory import plan_memory, require_memory
from crossrec.serving.releases.operations import Outcome, carry_out, new_operation
from crossrec.serving.releases.release import Release
from crossrec.serving.releases.replica import Replica, connect
from crossrec.serving.releases.state import Kind, Operation, ReleaseSet, ReleaseState
from crossrec.serving.releases.trials import Probing
from crossrec.serving.releases.versions import find_version


@dataclass(frozen=True)
class Options:
    """How a command is carried out.

    Attributes:
      reason: Why, for the ledger.
      force: Release also what was rejected before.
      ignore_memory: Load also where the estimate says that it does not fit.
      requests: TFRecord of PredictionLog with recorded traffic, asked beside the golden requests.
    """

    reason: str = ""
    force: bool = False
    ignore_memory: bool = False
    requests: Path | None = None


def canary(context: Context, set_name: str, release: Release, percent: float, options: Options) -> Outcome:
    """Put a release on trial, or change its share of the traffic.

    Args:
      context: Where and by whom.
      set_name: The set.
      release: The release.
      percent: Share of the traffic that clients are to send to the label "canary".
      options: How.

    Returns:
      How it ended.

    Raises:
      UsageError: If an argument is wrong.
      WithdrawnError: If the release is not good enough; it is withdrawn.
      ReleaseError: If it could not be done.
    """
    if not 0 <= percent <= 100:
        raise UsageError(f"--percent {percent:g}: give a share between 0 and 100")
    with session(context, f"canary {release} of {set_name}") as (state, replicas):
        one = state.release_set(set_name)
        if one.stable is None:
            raise UsageError(
                f"{set_name} has no stable release to try {release} against; begin with `promote {release}`"
            )
        if release == one.stable:
            raise UsageError(f"VERSION {release}: is the stable release of {set_name}; name another one")
        if one.canary is not None and one.canary.release != release:
            raise UsageError(
                f"VERSION {release}: canary {one.canary.release} of {set_name} is on trial; `promote` it, or "
                "take it back "
                "with `rollback`, before you try another"
            )
        _require_unrejected(one, release, options)
        operation = new_operation(
            context, state, Kind.CANARY, set_name, release, percent=float(percent), reason=options.reason
        )
        return _carry_out(context, state, operation, replicas, options)


def promote(context: Context, set_name: str, release: Release, options: Options) -> Outcome:
    """Make a release the stable one.

    Args:
      context: Where and by whom.
      set_name: The set.
      release: The release; the canary if there is one.
      options: How.

    Returns:
      How it ended.

    Raises:
      UsageError: If an argument is wrong.
      WithdrawnError: If the release is not good enough; it is withdrawn.
      ReleaseError: If it could not be done.
    """
    with session(context, f"promoting {release} of {set_name}") as (state, replicas):
        one = state.release_set(set_name)
        if release == one.stable:
            raise UsageError(
                f"VERSION {release}: is the stable release of {set_name} already; `reconcile` checks the servers"
            )
        if one.canary is not None and one.canary.release != release:
            raise UsageError(
                f"VERSION {release}: canary {one.canary.release} of {set_name} is on trial; take it back with "
                "`rollback` "
                "first, or promote it"
            )
        _require_unrejected(one, release, options)
        operation = new_operation(context, state, Kind.PROMOTE, set_name, release, reason=options.reason)
        return _carry_out(context, state, operation, replicas, options)


def rollback(context: Context, set_name: str, release: Release | None, options: Options) -> Outcome:
    """Go back: withdraw the canary if there is one and no release is named, else make an earlier release stable.

    Args:
      context: Where and by whom.
      set_name: The set.
      release: Where to go back to; None for the canary's withdrawal, or for the last stable release.
      options: How; the reason is needed.

    Returns:
      How it ended.

    Raises:
      UsageError: If an argument is wrong, or there is nothing to go back to.
      ReleaseError: If it could not be done.
    """
    if not options.reason.strip():
        raise UsageError("--reason: is empty; say why, for those who read the history")
    with session(context, f"rolling back {set_name}") as (state, replicas):
        one = state.release_set(set_name)
        if release is None and one.canary is not None:
            return withdraw_canary(context, state, set_name, replicas, options.reason, failure="")
        target = rollback_target(context, one) if release is None else release
        if target is None:
            rejected = ", ".join(str(rejected.release) for rejected in one.rejected) or "none"
            raise UsageError(
                f"VERSION: {set_name} has no earlier good release to go back to (stable is "
                f"{one.stable or 'none'}, rejected: "
                f"{rejected}); name a version, see `crossrec release list`"
            )
        if target == one.stable:
            raise UsageError(f"VERSION {target}: is the stable release of {set_name}; name an earlier one")
        operation = new_operation(context, state, Kind.ROLLBACK, set_name, target, reason=options.reason)
        return _carry_out(context, state, operation, replicas, options)


def pin(
    context: Context, set_name: str, release: Release, options: Options, loaded: bool = False, off: bool = False
) -> Outcome:
    """Keep a release's files from `gc`, and its models loaded if wanted; or end that.

    Args:
      context: Where and by whom.
      set_name: The set.
      release: The release.
      options: How.
      loaded: Keep it loaded on all replicas too, so that a rollback to it takes seconds.
      off: End the pin instead.

    Returns:
      How it ended.

    Raises:
      UsageError: If an argument is wrong.
      ReleaseError: If it could not be done.
    """
    with session(context, f"pinning {release} of {set_name}") as (state, replicas):
        one = state.release_set(set_name)
        if off and all(one_pin.release != release for one_pin in one.pinned):
            pinned = ", ".join(str(one_pin.release) for one_pin in one.pinned) or "none"
            raise UsageError(f"VERSION {release}: is not pinned in {set_name}; pinned are {pinned}")
        kind = Kind.UNPIN if off else Kind.PIN
        operation = new_operation(
            context, state, kind, set_name, release, loaded=loaded and not off, reason=options.reason
        )
        return _carry_out(context, state, operation, replicas, options)


def withdraw_canary(
    context: Context, state: ReleaseState, set_name: str, replicas: Sequence[Replica], reason: str, failure: str
) -> Outcome:
    """Take the canary back: its label moves to the stable release first, so that no request fails.

    Args:
      context: Where and by whom.
      state: The state, read under the lock.
      set_name: The set, which has a canary.
      replicas: The servers.
      reason: Why, in the words of the operator.
      failure: Why, in the words of a check.

    Returns:
      How it ended.

    Raises:
      ReleaseError: If it could not be done.
    """
    one = state.release_set(set_name)
    if one.canary is None:
        raise UsageError(f"{set_name} has no canary to take back")
    operation = new_operation(
        context, state, Kind.WITHDRAW, set_name, one.canary.release, reason=reason, failure=failure
    )
    return carry_out(context, state, operation, replicas, Probing(measured=False))


def rollback_target(context: Context, one: ReleaseSet) -> Release | None:
    """Find the last stable release that is still there and was not rejected.

    Args:
      context: Where the versions lie.
      one: The set.

    Returns:
      The release; None if there is none.
    """
    for release in one.former:
        there = all(find_version(context.serving_root / model, version) for model, version in release.versions)
        if there and one.rejection(release) is None:
            return release
    return None


@contextlib.contextmanager
def session(context: Context, purpose: str) -> Iterator[tuple[ReleaseState, list[Replica]]]:
    """Hold the lock, with the state read and the replicas connected.

    Args:
      context: Where and by whom.
      purpose: What is done, for others.

    Yields:
      The state, which has no operation under way, and the replicas.

    Raises:
      ConflictError: If somebody else is at work, or an operation was left unfinished.
      UsageError: If there is no state yet.
    """
    with context.store.exclusive(purpose):
        state = context.require_state()
        if state.operation is not None:
            raise ConflictError(unfinished(context, state.operation))
        with connected(state) as replicas:
            yield state, replicas


@contextlib.contextmanager
def connected(state: ReleaseState) -> Iterator[list[Replica]]:
    """Connect to the replicas of a state while the block runs."""
    with contextlib.ExitStack() as stack:
        replicas = connect(state.fleet)
        for replica in replicas:
            stack.enter_context(replica)
        yield replicas


def unfinished(context: Context, operation: Operation) -> str:
    """Say that an operation is under way, and what to do."""
    return (
        f"{context.store.place}: {operation.kind.value} {operation.target} of {operation.set_name}, begun by "
        f"{operation.actor} at "
        f"{operation.started}, is not finished (phase {operation.phase.value}). Nothing was changed. If its "
        "process still runs, "
        "wait for it; if it was killed, run `crossrec release reconcile`"
    )


def _carry_out(
    context: Context, state: ReleaseState, operation: Operation, replicas: Sequence[Replica], options: Options
) -> Outcome:
    one = state.release_set(operation.set_name)
    if operation.kind is not Kind.UNPIN:
        context.require_release(operation.target)
    if operation.target in operation.holding and not options.ignore_memory:
        _require_memory(context, state, one, operation.target, replicas)
    measured = operation.kind in (Kind.CANARY, Kind.PROMOTE)
    requests: dict[str, Sequence[Any]] = {}
    if options.requests is not None:
        requests = {model: recorded_requests(options.requests, model) for model in one.models}
        if not any(requests.values()):
            raise UsageError(f"--requests {options.requests}: holds no request to {', '.join(one.models)}; record some")
    return carry_out(context, state, operation, replicas, Probing(measured, requests))


def _require_unrejected(one: ReleaseSet, release: Release, options: Options) -> None:
    rejected = one.rejection(release)
    if rejected is not None and not options.force:
        raise UsageError(
            f"VERSION {release}: was rejected at {rejected.time}: {rejected.reason}. Name another version, or "
            "give --force"
        )


def _require_memory(
    context: Context, state: ReleaseState, one: ReleaseSet, target: Release, replicas: Sequence[Replica]
) -> None:
    for replica in replicas:
        try:
            statuses = {model: replica.statuses(model) for model in one.models}
        except ReplicaDownError:
            continue
        loaded, new = [], []
        for model, version in target.versions:
            there = [v for v, status in statuses[model].items() if status.state == AVAILABLE]
            known = [find_version(context.serving_root / model, v) for v in there]
            loaded += [path for path in known if path is not None]
            if version not in there:
                new.append(context.version_dir(model, version))
        if new:
            plan = plan_memory(replica.target, loaded, new, state.fleet.memory_limit_bytes)
            require_memory(replica.target, plan)
            context.progress(f"{replica.target}: loading needs memory: {plan.explanation}")
