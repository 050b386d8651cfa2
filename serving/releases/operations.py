"""An operation from its first phase to its last; any process can take it up where another died.

Every phase is written down before anything of it is done, so the state always says what servers may be like. Up to
the commit, which writes the phase MOVE together with the new sets, an operation can be undone; from then on it is
finished.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crossrec.serving.releases.context import Context
from crossrec.serving.releases.converge import ReplicaAnswer
from crossrec.serving.releases.errors import ReleaseError, WithdrawnError
from crossrec.serving.releases.release import Release
from crossrec.serving.releases.replica import Replica
from crossrec.serving.releases.rounds import blames_version, bring_all, reachable
from crossrec.serving.releases.state import Kind, Operation, Phase, ReleaseState
from crossrec.serving.releases.transitions import committed, rejecting
from crossrec.serving.releases.trials import Probing, full_trial, no_trial, trial_before_labels

# Loads and the calls around them end within this time beyond the load's own, or the process is dead.
_LEASE_MARGIN_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """How an operation ended.

    Attributes:
      state: The state afterwards.
      operation: The operation.
      answers: What each replica answered.
      failure: Why it was undone; empty if it was not.
    """

    state: ReleaseState
    operation: Operation
    answers: Sequence[ReplicaAnswer] = ()
    failure: str = ""

    @property
    def behind(self) -> list[str]:
        """Addresses of the replicas that are not where they should be; `reconcile` catches them up."""
        return [answer.target for answer in self.answers if answer.outcome != "ok"]


def new_operation(
    context: Context, state: ReleaseState, kind: Kind, set_name: str, target: Release, **fields: Any
) -> Operation:
    """Describe an operation that has not begun.

    Args:
      context: Who and where.
      state: The state that it starts from.
      kind: What it does.
      set_name: The set that moves.
      target: The release that it moves to, or that it withdraws, pins or unpins.
      **fields: Further fields of the operation.

    Returns:
      The operation.
    """
    one = state.release_set(set_name)
    stays = () if kind in (Kind.WITHDRAW, Kind.UNPIN) or (kind is Kind.PIN and not fields.get("loaded")) else (target,)
    return Operation(
        id=uuid.uuid4().hex[:12],
        kind=kind,
        set_name=set_name,
        source=one.stable,
        target=target,
        phase=Phase.LOAD if stays else Phase.MOVE,
        holding=tuple(dict.fromkeys([*one.loaded(), *stays])),
        actor=context.actor,
        started=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **fields,
    )


def carry_out(
    context: Context, state: ReleaseState, operation: Operation, replicas: Sequence[Replica], probing: Probing
) -> Outcome:
    """Carry out an operation. The caller holds the store's lock.

    Args:
      context: Where and by whom.
      state: The state, without an operation.
      operation: See `new_operation`.
      replicas: The servers.
      probing: What a release on trial is asked.

    Returns:
      How it ended.

    Raises:
      WithdrawnError: If the release is not good enough; it is withdrawn then.
      ReleaseError: If it could not be done. The message says whether anything has changed.
    """
    context.ledger.append(_event(operation, "started"))
    context.on_step("started")
    if operation.phase is Phase.LOAD:
        state = _write(context, state, operation)
        context.on_step("claimed")
    else:
        state = _commit(context, state, operation)
    return advance(context, state, replicas, probing)


def advance(context: Context, state: ReleaseState, replicas: Sequence[Replica], probing: Probing) -> Outcome:
    """Carry the operation of a state from its phase to the end.

    Args:
      context: Where and by whom.
      state: The state, with an operation.
      replicas: The servers.
      probing: What a release on trial is asked.

    Returns:
      How it ended.

    Raises:
      WithdrawnError: If the release is not good enough; it is withdrawn then.
      ReleaseError: If it could not be done.
    """
    operation = require_operation(state)
    if operation.phase is Phase.UNDO:
        return undo(context, state, replicas, operation.failure, operation.reject)
    answers: Sequence[ReplicaAnswer] = ()
    if operation.phase is Phase.LOAD:
        try:
            answers = _load(context, state, replicas, probing)
        except BaseException as error:
            _take_back(context, state, replicas, error)
            raise
        state = _commit(context, state, operation)
    if require_operation(state).phase is Phase.MOVE:
        answers = _merged(_move(context, state, replicas), answers)
        state = _write(context, state, dataclasses.replace(require_operation(state), phase=Phase.SETTLE))
        context.on_step("settling")
    context.store.show(state)
    context.on_step("settle shown")
    settled, _ = bring_all(state, replicas, no_trial(), _steps(context, "settle"), first_alone=False)
    return _finish(context, state, "done", _merged(settled, answers), operation.failure)


def undo(context: Context, state: ReleaseState, replicas: Sequence[Replica], failure: str, reject: bool) -> Outcome:
    """Take an operation back that has not moved a label.

    Args:
      context: Where and by whom.
      state: The state, with an operation in the phase LOAD or UNDO.
      replicas: The servers.
      failure: Why.
      reject: Whether the target is to blame, and is not to be released again.

    Returns:
      How it ended.

    Raises:
      ReleaseError: If the state cannot be written; labels are as they were, and `reconcile` undoes the rest.
    """
    operation = require_operation(state)
    if operation.phase is not Phase.UNDO:
        operation = dataclasses.replace(operation, phase=Phase.UNDO, failure=failure, reject=reject)
        state = _write(context, state, operation)
        context.on_step("undoing")
    context.store.show(state)
    context.on_step("undo shown")
    answers, _ = bring_all(state, replicas, no_trial(), _steps(context, "undo"), first_alone=False)
    if reject:
        one = state.release_set(operation.set_name)
        state = state.with_set(operation.set_name, rejecting(one, operation.target, failure))
    return _finish(context, state, "withdrawn" if reject else "undone", answers, failure)


def require_operation(state: ReleaseState) -> Operation:
    """Return the operation of a state that has one."""
    if state.operation is None:
        raise AssertionError("the state holds no operation")
    return state.operation


def _load(
    context: Context, state: ReleaseState, replicas: Sequence[Replica], probing: Probing
) -> Sequence[ReplicaAnswer]:
    operation, limits = require_operation(state), state.fleet.limits
    context.store.show(state)
    context.on_step("load shown")
    # A rollback is an emergency: it goes on with the replicas that follow, and needs none to write the state down.
    urgent = operation.kind is Kind.ROLLBACK
    up = reachable(replicas)
    may_be_none = not up and (urgent or state.release_set(operation.set_name).stable is None)
    if len(up) < limits.min_replicas and not may_be_none:
        raise ReleaseError(
            f"{len(up)} of {len(replicas)} replicas answer, and limits.min_replicas is {limits.min_replicas}; "
            "nobody answers at "
            f"{', '.join(one.target for one in replicas if one.target not in up)}: start those servers, or "
            "correct fleet.replicas"
        )
    trial = full_trial(context, limits, operation.target, probing)
    steps = _steps(context, "load")
    answers, errors = bring_all(state, replicas, trial, steps, first_alone=not urgent)
    followed = any(answer.outcome == "ok" for answer in answers)
    if errors and not (urgent and followed):
        kind = WithdrawnError if blames_version(errors) else ReleaseError
        raise kind("; ".join(map(str, errors)))
    lost = [answer.error for answer in answers if answer.outcome == "down" and answer.target in up]
    if lost and not urgent:
        raise ReleaseError(f"a replica went down while it loaded {operation.target}: {'; '.join(lost)}")
    context.ledger.append_once(_event(operation, "loaded", answers))
    context.on_step("load recorded")
    return answers


def _take_back(context: Context, state: ReleaseState, replicas: Sequence[Replica], error: BaseException) -> None:
    """Undo after a failed load, and raise an error that says so; returns for errors that are no release errors."""
    operation = require_operation(state)
    failure = str(error) if isinstance(error, ReleaseError) else f"interrupted by {type(error).__name__}"
    reject = isinstance(error, WithdrawnError)
    try:
        outcome = undo(context, state, replicas, failure, reject)
    except ReleaseError as second:
        raise ReleaseError(
            f"{failure}. It could not be taken back either: {second}. All labels are as they were; mend this, then run "
            "`crossrec release reconcile`"
        ) from error
    if not isinstance(error, ReleaseError):
        return
    after = "withdrawn and will not be released again without --force" if reject else "taken back"
    behind = f"; run `crossrec release reconcile` for {', '.join(outcome.behind)}" if outcome.behind else ""
    message = f"{operation.kind.value} {operation.target} was {after}: {failure}. All labels are as they were{behind}"
    raise (WithdrawnError if reject else ReleaseError)(message) from error


def _move(context: Context, state: ReleaseState, replicas: Sequence[Replica]) -> Sequence[ReplicaAnswer]:
    operation = require_operation(state)
    context.store.show(state)
    context.on_step("move shown")
    trial = trial_before_labels(context, state, operation)
    answers, errors = bring_all(state, replicas, trial, _steps(context, "move"), first_alone=False)
    if errors and not any(answer.outcome == "ok" for answer in answers):
        raise ReleaseError(
            f"no replica moved its labels: {'; '.join(map(str, errors))}. The new state is written down and nothing is "
            "unloaded; mend this, then run `crossrec release reconcile`"
        )
    context.ledger.append_once(_event(operation, "moved", answers))
    context.on_step("move recorded")
    return answers


def _commit(context: Context, state: ReleaseState, operation: Operation) -> ReleaseState:
    one = committed(state.release_set(operation.set_name), operation, state.fleet.keep_previous)
    moved = dataclasses.replace(operation, phase=Phase.MOVE)
    state = _write(context, state.with_set(operation.set_name, one), moved)
    context.on_step("committed")
    return state


def _finish(
    context: Context, state: ReleaseState, what: str, answers: Sequence[ReplicaAnswer], failure: str
) -> Outcome:
    operation = require_operation(state)
    event = _event(operation, what, answers)
    if failure:
        event["failure"] = failure
    # First the ledger, then the state: a kill in between leaves an operation that is finished again, and told once.
    if context.ledger.append_once(event):
        context.on_event(event)
    context.on_step("recorded")
    state = context.store.write(dataclasses.replace(state, operation=None))
    context.on_step("finished")
    context.store.show(state)
    context.on_step("finish shown")
    return Outcome(state, operation, answers, failure if what != "done" else "")


def _write(context: Context, state: ReleaseState, operation: Operation) -> ReleaseState:
    lease = time.time() + state.fleet.limits.load_timeout_seconds + _LEASE_MARGIN_SECONDS
    return context.store.write(
        dataclasses.replace(state, operation=dataclasses.replace(operation, lease_until=round(lease, 3)))
    )


def _steps(context: Context, phase: str) -> Any:
    return lambda step: context.on_step(f"{phase}: {step}")


def _merged(later: Sequence[ReplicaAnswer], earlier: Sequence[ReplicaAnswer]) -> list[ReplicaAnswer]:
    """Keep what earlier phases measured."""
    known = {answer.target: answer for answer in earlier}
    return [
        dataclasses.replace(
            answer,
            load_seconds={**known[answer.target].load_seconds, **answer.load_seconds},
            checks={**answer.checks, **known[answer.target].checks},
        )
        if answer.target in known
        else answer
        for answer in later
    ]


def _event(operation: Operation, event: str, answers: Sequence[ReplicaAnswer] = ()) -> dict[str, Any]:
    return {
        "event": event,
        "id": operation.id,
        "kind": operation.kind.value,
        "set": operation.set_name,
        "by": operation.actor,
        "reason": operation.reason,
        "from": operation.source.by_model() if operation.source else None,
        "to": operation.target.by_model(),
        **({"percent": operation.percent} if operation.kind is Kind.CANARY else {}),
        **({"replicas": [answer.to_json() for answer in answers]} if answers else {}),
    }
