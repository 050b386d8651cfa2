"""Hooks for metrics and traces."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

import grpc

from crossrec.serving.client.config import Choice

_LOG = logging.getLogger("crossrec.serving.client")


class Call:
    """One call of the client, for as long as it lasts; hooks may use it as a key.

    Attributes:
        operation: recommend, retrieve, rank, status or metadata.
        model_name: Model that is asked.
        choice: Version or label that is asked, if one is.
        batch: Requests in it.
        deadline_seconds: Its budget.
        started: Monotonic time of its begin, in seconds.
    """

    __slots__ = ("__weakref__", "batch", "choice", "deadline_seconds", "model_name", "operation", "started")

    def __init__(self, operation: str, model_name: str, choice: Choice, batch: int, deadline_seconds: float) -> None:
        self.operation = operation
        self.model_name = model_name
        self.choice = choice
        self.batch = batch
        self.deadline_seconds = deadline_seconds
        self.started = time.monotonic()


@dataclass(frozen=True)
class AttemptEnd:
    """How one RPC of a call ended.

    Attributes:
        target: Address.
        method: Full name of the gRPC method.
        code: Status; CANCELLED for the slower one of two hedged attempts.
        seconds: How long it took.
        hedge: Whether it was the second copy.
        probe: Whether it was sent to try an ejected target, nobody waiting for its answer.
    """

    target: str
    method: str
    code: grpc.StatusCode
    seconds: float
    hedge: bool
    probe: bool


@dataclass(frozen=True)
class CallEnd:
    """How a call ended.

    Attributes:
        seconds: How long it took.
        attempts: Attempts that it took.
        model_version: Version that answered; 0 where none did.
        fallback: Whether the fallback answered.
        error: What the caller gets instead of an answer.
    """

    seconds: float
    attempts: int
    model_version: int
    fallback: bool
    error: Optional[BaseException]


class Observer:
    """Base of hooks: override what you need.

    Hooks run within the call, on its thread (a probe's end on one of gRPC's), so they must be quick and
    safe for threads. An exception from a hook is logged and does not touch the call.
    """

    def call_started(self, call: Call) -> None:
        """A call begins."""

    def headers(self, call: Call) -> Iterable[tuple[str, str]]:
        """Give gRPC metadata to add to each RPC of a call, such as a trace context."""
        return ()

    def attempt_ended(self, call: Call, attempt: AttemptEnd) -> None:
        """An RPC of the call has ended."""

    def call_ended(self, call: Call, end: CallEnd) -> None:
        """The call has its answer or its error."""

    def target_changed(self, target: str, ejected: bool) -> None:
        """A target gets no calls any more, or gets them again."""


class Observers:
    """All hooks of a client.

    Args:
        observers: The hooks, in the order in which they are called.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, hook: Callable[[Observer], Any]) -> list[Any]:
        """Call a hook of each.

        Args:
            hook: Calls it.

        Returns:
            What they returned; an exception is logged and leaves its place out.
        """
        results = []
        for observer in self._observers:
            try:
                results.append(hook(observer))
            except Exception:
                _LOG.exception("%s failed; the call goes on without it", type(observer).__name__)
        return results
