"""Splitting calls between version labels, request by request."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional, Protocol, TypeVar

from crossrec.serving.client.errors import CallError
from crossrec.serving.client.exchange import Plan, Together
from crossrec.serving.client.types import Ranking, Recommendations

_LOG = logging.getLogger("crossrec.serving.client")
_Result = TypeVar("_Result", Recommendations, Ranking)


class RoutedRequest(NamedTuple):
    """What a split may go by.

    Attributes:
        inputs: The request: value by input name.
        unit: What is assigned, where the request names it (`Request.unit`).
        request_id: The caller's own id of the request, if it gave one.
    """

    inputs: Mapping[str, Any]
    unit: Optional[str]
    request_id: Optional[str]


class Route(NamedTuple):
    """Where one request goes.

    Attributes:
        version_label: Label to ask; None for the server's latest version.
        ticket: Handed back with the request's end; None for a request whose end is not wanted.
    """

    version_label: Optional[str]
    ticket: Any


class RequestEnd(NamedTuple):
    """How one routed request ended.

    Attributes:
        model_version: Version that answered; 0 where none did.
        fallback: Whether the client's fallback answered.
        error: Name of the status code or of the exception that the caller got; empty for an answer.
    """

    model_version: int
    fallback: bool
    error: str


class TrafficSplit(Protocol):
    """Chooses a version label for each request and hears how it ended.

    Both methods run within the call, on any thread, so they must be quick.
    `crossrec.serving.experiments.LabelSplit` is one.
    """

    def route(self, request: RoutedRequest) -> Route:
        """Say where a request goes."""
        ...

    def ended(self, ticket: Any, end: RequestEnd) -> None:
        """Take note of how a request ended; an exception is logged and does not touch the call."""
        ...


def split(
    traffic: TrafficSplit, requests: Sequence[RoutedRequest], part: Callable[[Sequence[int], Optional[str]], Plan[Any]]
) -> Plan[Any]:
    """Plan one call per label, all of them at the same time.

    Args:
        traffic: Chooses the labels.
        requests: The batch.
        part: Plans the call for some places of the batch and a label; gives their results in that order.

    Returns:
        A result per request, in the order of the batch.
    """
    routes = [traffic.route(request) for request in requests]
    places: dict[Optional[str], list[int]] = {}
    for place, route in enumerate(routes):
        places.setdefault(route.version_label, []).append(place)
    plans = [
        _told(traffic, [routes[place].ticket for place in group], part(group, label)) for label, group in places.items()
    ]
    if len(plans) == 1:
        return (yield from plans[0])
    answers = yield Together(plans)
    results: list[Any] = [None] * len(routes)
    for group, answer in zip(places.values(), answers):
        for place, one in zip(group, answer):
            results[place] = one
    return results


def _told(traffic: TrafficSplit, tickets: Sequence[Any], plan: Plan[list[_Result]]) -> Plan[list[_Result]]:
    try:
        results = yield from plan
    except BaseException as error:
        _tell(traffic, tickets, [RequestEnd(0, False, _name(error))] * len(tickets))
        raise
    _tell(traffic, tickets, [RequestEnd(one.model_version, one.fallback, "") for one in results])
    return results


def _tell(traffic: TrafficSplit, tickets: Sequence[Any], ends: Sequence[RequestEnd]) -> None:
    for ticket, end in zip(tickets, ends):
        if ticket is not None:
            try:
                traffic.ended(ticket, end)
            except Exception:
                _LOG.exception("%s failed; the call goes on without it", type(traffic).__name__)


def _name(error: BaseException) -> str:
    if isinstance(error, CallError):
        return str(error.code.name)
    return "CANCELLED" if isinstance(error, asyncio.CancelledError) else type(error).__name__
