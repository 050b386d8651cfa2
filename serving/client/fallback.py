"""Answers that do not come from a server."""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional, Union

import grpc
import numpy as np

from crossrec.serving.client.errors import CallError, RequestError
from crossrec.serving.client.types import Ranking, Recommendations


@dataclass(frozen=True)
class FailedCall:
    """What a fallback is asked.

    Attributes:
        operation: recommend, retrieve or rank.
        inputs: The request: value by input name.
        limit: As the caller gave it.
        error: Why no server answered.
    """

    operation: str
    inputs: Mapping[str, Any]
    limit: Optional[int]
    error: CallError


FallbackItems = Iterable[Union[str, tuple[str, float]]]
Fallback = Callable[[FailedCall], Union[None, FallbackItems, Iterable[float], Awaitable[Any]]]

# The server is at fault or late; with the other codes the caller is, and must hear of it.
_CODES = frozenset(
    {
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.ABORTED,
    }
)


def applies(error: CallError) -> bool:
    """Tell whether an error is one that a fallback stands in for.

    Args:
        error: Why the call failed.

    Returns:
        Whether the servers were late, unreachable, overloaded or broken.
    """
    return error.code in _CODES


def as_recommendations(given: FallbackItems, limit: Optional[int], latency_ms: float, attempts: int) -> Recommendations:
    """Bring a fallback's items into the form of an answer.

    Args:
        given: Item ids, best first, or pairs of id and score.
        limit: At most so many.
        latency_ms: Time that the call took.
        attempts: Attempts that failed.

    Returns:
        The items; without scores of their own they get 0, -1, -2, …
    """
    ids, scores = [], []
    for place, item in enumerate(given):
        if limit is not None and place >= limit:
            break
        name, score = (item, float(-place)) if isinstance(item, str) else item
        ids.append(name)
        scores.append(score)
    return Recommendations(tuple(ids), np.array(scores, np.float32), {}, 0, latency_ms, attempts, True)


def as_ranking(given: Iterable[float], candidates: Sequence[str], latency_ms: float, attempts: int) -> Ranking:
    """Bring a fallback's scores into the form of an answer.

    Args:
        given: One score per candidate, in their order.
        candidates: Item ids.
        latency_ms: Time that the call took.
        attempts: Attempts that failed.

    Returns:
        The candidates with these scores.

    Raises:
        RequestError: There are more or fewer scores than candidates.
    """
    scores = np.array(list(given), np.float32)
    if scores.shape != (len(candidates),):
        problem = f"gave {scores.size} scores for {len(candidates)} candidates"
        raise RequestError("fallback", given, problem, "Return one number per candidate, or None for no fallback")
    return Ranking(tuple(candidates), scores, {}, 0, latency_ms, attempts, True)
