"""One step on all replicas: the first alone, the others at once, those that are down left for later."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from crossrec.serving.releases.converge import OnStep, ReplicaAnswer, Trial, converge
from crossrec.serving.releases.errors import CheckFailedError, CorruptVersionError, ReleaseError, ReplicaDownError
from crossrec.serving.releases.replica import Replica
from crossrec.serving.releases.state import ReleaseState
from crossrec.serving.releases.wanted import wanted_models

_PARALLEL = 8


def bring_all(
    state: ReleaseState, replicas: Sequence[Replica], trial: Trial, on_step: OnStep, first_alone: bool
) -> tuple[list[ReplicaAnswer], list[ReleaseError]]:
    """Bring all replicas to what a state wants.

    Args:
      state: The state.
      replicas: The servers.
      trial: See `converge.converge`.
      on_step: Called with the name of each step when it is done, from several threads.
      first_alone: Whether the first replica that is up goes first, and the others are left alone if it fails: a
        version that kills its server then kills one.

    Returns:
      An answer per replica, and the errors of those that are up.
    """
    wanted = wanted_models(state)
    answers: dict[str, ReplicaAnswer] = {}
    errors: list[ReleaseError] = []

    def bring(replica: Replica) -> tuple[ReplicaAnswer, ReleaseError | None]:
        try:
            return converge(replica, wanted, state.fleet, trial, on_step), None
        except ReplicaDownError as error:
            return ReplicaAnswer(replica.target, "down", error=str(error)), None
        except ReleaseError as error:
            return ReplicaAnswer(replica.target, "failed", error=str(error)), error

    waiting = list(replicas)
    while first_alone and waiting and not any(answer.outcome == "ok" for answer in answers.values()):
        answer, error = bring(waiting.pop(0))
        answers[answer.target] = answer
        if error is not None:
            return list(answers.values()), [error]
    if waiting:
        with ThreadPoolExecutor(min(_PARALLEL, len(waiting))) as pool:
            for answer, error in pool.map(bring, waiting):
                answers[answer.target] = answer
                if error is not None:
                    errors.append(error)
    return [answers[replica.target] for replica in replicas if replica.target in answers], errors


def reachable(replicas: Sequence[Replica]) -> list[str]:
    """Find the replicas that answer.

    Args:
      replicas: The servers.

    Returns:
      Addresses of those that do.
    """

    def is_up(replica: Replica) -> bool:
        try:
            replica.require_up()
        except ReplicaDownError:
            return False
        return True

    if not replicas:
        return []
    with ThreadPoolExecutor(min(_PARALLEL, len(replicas))) as pool:
        return [replica.target for replica, up in zip(replicas, pool.map(is_up, replicas)) if up]


def blames_version(errors: Sequence[ReleaseError]) -> bool:
    """Say whether an error shows that a version is bad, rather than a server."""
    return any(isinstance(error, (CheckFailedError, CorruptVersionError)) for error in errors)
