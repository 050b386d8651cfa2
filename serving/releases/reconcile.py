"""Reconcile: finish or undo what was left, then bring every replica to what is wanted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossrec.serving.releases.commands import connected, unfinished
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.converge import ReplicaAnswer, observe
from crossrec.serving.releases.errors import ConflictError, ReleaseError
from crossrec.serving.releases.operations import advance, undo
from crossrec.serving.releases.replica import Replica
from crossrec.serving.releases.rounds import bring_all
from crossrec.serving.releases.state import Kind, Phase, ReleaseState
from crossrec.serving.releases.trials import Probing, golden_trial
from crossrec.serving.releases.wanted import wanted_models

TRASH_PREFIX = ".trash-"
_ENDS = ("done", "undone", "withdrawn", "abandoned")
_KILLED = "its process ended before a label had moved"


@dataclass(frozen=True)
class Reconciled:
    """What was found and done.

    Attributes:
      done: What was finished, undone or cleaned up, a line each.
      answers: What each replica serves now.
      changed: Addresses of the replicas that had to be changed.
    """

    done: Sequence[str] = ()
    answers: Sequence[ReplicaAnswer] = ()
    changed: Sequence[str] = field(default_factory=tuple)

    @property
    def behind(self) -> list[str]:
        """Addresses of the replicas that are still not where they should be."""
        return [answer.target for answer in self.answers if answer.outcome != "ok"]


def reconcile(context: Context, take_over: bool = False) -> Reconciled:
    """Make the servers serve what the state wants. Run it as often as you like.

    An operation that was killed before its commit is undone, except for a rollback; any other is finished.

    Args:
      context: Where and by whom.
      take_over: Take an operation up although its process may be alive; for stores without a lock.

    Returns:
      What was found and done.

    Raises:
      ConflictError: If somebody else is at work.
      ReleaseError: If it could not be done.
    """
    with context.store.exclusive("reconciling"):
        state = context.require_state()
        operation = state.operation
        if (
            operation is not None
            and not context.store.is_locking
            and not take_over
            and time.time() < operation.lease_until
        ):
            raise ConflictError(f"{unfinished(context, operation)} --take-over")
        done = []
        with connected(state) as replicas:
            if operation is not None:
                state, line = _end(context, state, replicas)
                done.append(line)
                context.progress(line)
            done += _close_ledger(context, state)
            done += _empty_trash(context, state)
            context.store.show(state)
            context.on_step("shown")
            answers, changed = _catch_up(context, state, replicas)
        if changed:
            context.ledger.append(
                {
                    "event": "reconciled",
                    "id": f"reconcile-{time.time_ns():x}",
                    "kind": "reconcile",
                    "by": context.actor,
                    "replicas": [answer.to_json() for answer in answers],
                }
            )
        context.on_step("reconciled")
        return Reconciled(done, answers, changed)


def _end(context: Context, state: ReleaseState, replicas: Sequence[Replica]) -> tuple[ReleaseState, str]:
    operation = state.operation
    assert operation is not None
    what = (
        f"{operation.kind.value} {operation.target} of {operation.set_name} (by {operation.actor}, {operation.started})"
    )
    if operation.phase is Phase.LOAD and operation.kind is not Kind.ROLLBACK:
        return undo(context, state, replicas, _KILLED, reject=False).state, f"undone: {what}: {_KILLED}"
    outcome = advance(context, state, replicas, Probing(measured=False))
    if operation.phase is Phase.UNDO:
        return outcome.state, f"undone: {what}: {outcome.failure}"
    return outcome.state, f"finished: {what}"


def _close_ledger(context: Context, state: ReleaseState) -> list[str]:
    """Give an end to operations that were killed between their first line and their first change."""
    events = context.ledger.events()
    ended = {event.get("id") for event in events if event.get("event") in _ENDS}
    open_ids = {event.get("id"): event for event in events if event.get("event") == "started"}
    lines = []
    for identifier, event in open_ids.items():
        if identifier in ended:
            continue
        kept = {key: event.get(key) for key in ("id", "kind", "set", "reason", "from", "to")}
        context.ledger.append_once({"event": "abandoned", **kept, "by": context.actor, "failure": _KILLED})
        lines.append(
            f"abandoned: {event.get('kind')} of {event.get('set')} (by {event.get('by')}): it had changed nothing"
        )
    return lines


def _empty_trash(context: Context, state: ReleaseState) -> list[str]:
    lines = []
    for one in state.sets.values():
        for model in one.models:
            for path in sorted((context.serving_root / model).glob(f"{TRASH_PREFIX}*")):
                remove_trash(path)
                lines.append(f"removed: {path}, left behind by a killed gc")
    return lines


def remove_trash(path: Path) -> None:
    """Remove a directory that `gc` has hidden.

    Args:
      path: The directory.

    Raises:
      ReleaseError: If it cannot be removed.
    """
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise ReleaseError(
            f"{path}: cannot be removed ({error.strerror}); servers ignore it: remove it by hand"
        ) from error


def _catch_up(
    context: Context, state: ReleaseState, replicas: Sequence[Replica]
) -> tuple[list[ReplicaAnswer], list[str]]:
    wanted = wanted_models(state)
    agreeing = set()
    for replica in replicas:
        try:
            if observe(replica, wanted).agrees(wanted):
                agreeing.add(replica.target)
        except ReleaseError:
            continue  # the round below finds it again, and reports it
    labelled = tuple(dict.fromkeys((m, v) for m, one in wanted.items() for v in one.labels.values()))
    trial = golden_trial(context, state.fleet.limits, labelled)
    answers, _ = bring_all(state, replicas, trial, lambda step: context.on_step(f"catch up: {step}"), first_alone=False)
    return answers, [answer.target for answer in answers if answer.outcome == "ok" and answer.target not in agreeing]
