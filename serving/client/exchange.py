"""How a call goes over the wire: attempts, retries, hedges, probes.

The logic is a generator that yields commands and is sent their results, so it neither blocks nor awaits: the
blocking and the asyncio transport carry out the same commands.
"""

import random
import time
from collections.abc import Awaitable, Generator, Sequence
from typing import Any, Callable, NamedTuple, Optional, TypeVar, Union

import grpc

from crossrec.serving.client.balancing import TARGET_FAILURES, Target, TargetPool
from crossrec.serving.client.config import ClientConfig
from crossrec.serving.client.errors import CallError, call_error
from crossrec.serving.client.observers import AttemptEnd, Call, Observers
from crossrec.serving.client.policy import RetryBudget, retry_delay

_REFUSALS = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION})
# A label that moves to and fro may make a request wrong more than once.
_MAX_MENDS = 3
# An attempt with less than this share of the usual time says nothing about the target when it is late.
_FAIR_SHARE = 0.5


class Attempt:
    """One RPC. Yielded as a command: send it and wait for its end.

    Attributes:
        target: Where it goes.
        call: Call that it belongs to.
        method: Full name of the gRPC method.
        payload: Bytes of the request.
        deadline: Monotonic time until which it may take.
        started: Monotonic time of its begin.
        hedge: Whether it is a second copy.
        probe: Whether it tries an ejected target.
    """

    __slots__ = ("call", "deadline", "hedge", "method", "payload", "probe", "started", "target")

    def __init__(
        self, target: Target, call: Call, method: str, payload: bytes, started: float, deadline: float
    ) -> None:
        self.target = target
        self.call = call
        self.method = method
        self.payload = payload
        self.started = started
        self.deadline = deadline
        self.hedge = False
        self.probe = False


class Reply(NamedTuple):
    """How an attempt ended: with a payload, or with another code than OK."""

    attempt: Attempt
    code: grpc.StatusCode
    payload: bytes
    details: str


class Start(NamedTuple):
    """Command: send an attempt, do not wait."""

    attempt: Attempt


class Wait(NamedTuple):
    """Command: wait for the next end of a started attempt; the result is None where `until` comes first."""

    until: Optional[float]


class Cancel(NamedTuple):
    """Command: cancel a started attempt."""

    attempt: Attempt


class Sleep(NamedTuple):
    """Command: wait."""

    seconds: float


class Probe(NamedTuple):
    """Command: send an attempt that nobody waits for; `done` gets its reply, None where it was given up."""

    attempt: Attempt
    done: Callable[[Optional[Reply]], None]


class Ask(NamedTuple):
    """Command: call the caller's function; where it returns an awaitable, the result is awaited."""

    function: Callable[..., Union[Any, Awaitable[Any]]]
    argument: Any


class Together(NamedTuple):
    """Command: carry out several plans at the same time; the result is their results.

    All of them are carried out to their ends; then the first error, in their order, is raised.
    """

    plans: Sequence[Any]


Command = Union[Attempt, Start, Wait, Cancel, Sleep, Probe, Ask, Together]
T = TypeVar("T")
Plan = Generator[Command, Any, T]


class AttemptFailed(Exception):
    """What had to be asked before a request could be sent was not answered."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.details)
        self.reply = reply


class Shared:
    """What all calls of a client share.

    Args:
        targets: Addresses.
        config: How the client calls.
        observers: Hooks.
    """

    def __init__(self, targets: Sequence[str], config: ClientConfig, observers: Observers) -> None:
        self.config = config
        self.observers = observers
        self.random = random.Random()
        self.pool = TargetPool(targets, config.balance, self.random)
        self.budget = RetryBudget(config.retry.budget_ratio)

    def ended(self, reply: Reply) -> None:
        """Tell the hooks how an attempt ended."""
        if self.observers:
            attempt = reply.attempt
            seconds = time.monotonic() - attempt.started
            address = attempt.target.address
            end = AttemptEnd(address, attempt.method, reply.code, seconds, attempt.hedge, attempt.probe)
            self.observers.tell(lambda observer: observer.attempt_ended(attempt.call, end))

    def changed(self, target: Target, ejected: Optional[bool]) -> None:
        """Tell the hooks that a target is out or back; None is no change."""
        if ejected is not None and self.observers:
            self.observers.tell(lambda observer: observer.target_changed(target.address, ejected))

    def probed(self, reply: Reply) -> None:
        """Note how a probe ended."""
        target = reply.attempt.target
        self.ended(reply)
        self.changed(target, self.pool.probed(target, reply.code not in TARGET_FAILURES, time.monotonic()))


class Inquiry(NamedTuple):
    """What `exchange` needs to know of a call.

    Attributes:
        call: The call.
        method: Full name of the gRPC method.
        deadline: Monotonic time until which the call may take.
        prepare: Gives the request's bytes for a target; may ask the target first.
        mend: Called after a refusal; tells whether it came from a version that takes other inputs than the request
            was written for. None never sends again.
        only: Address to ask, where only one will do.
    """

    call: Call
    method: str
    deadline: float
    prepare: Callable[[Target], Plan[bytes]]
    mend: Optional[Callable[[Reply], Plan[bool]]] = None
    only: Optional[str] = None


def new_attempt(shared: Shared, inquiry: Inquiry, target: Target, method: str, payload: bytes) -> Attempt:
    """Make an attempt with the time that it may take.

    Args:
        shared: The client's state.
        inquiry: The call.
        target: Where it goes.
        method: Full name of the gRPC method.
        payload: Bytes of the request.

    Returns:
        The attempt.
    """
    now = time.monotonic()
    share = shared.config.retry.attempt_seconds
    deadline = inquiry.deadline if share is None else min(inquiry.deadline, now + share)
    return Attempt(target, inquiry.call, method, payload, now, deadline)


def send(shared: Shared, attempt: Attempt) -> Plan[Reply]:
    """Send an attempt unless its time is over already.

    Args:
        shared: The client's state.
        attempt: The attempt.

    Returns:
        How it ended.
    """
    if attempt.deadline <= attempt.started:
        return _too_late(attempt)
    reply: Reply = yield attempt
    shared.ended(reply)
    return reply


def exchange(shared: Shared, inquiry: Inquiry) -> Plan[tuple[Reply, int]]:
    """Send a call's request until one attempt succeeds or none is allowed any more.

    Args:
        shared: The client's state.
        inquiry: The call.

    Returns:
        The successful reply and the number of attempts.

    Raises:
        CallError: No attempt succeeded.
    """
    tried: list[Target] = []
    failures = 0
    mended = 0
    shared.budget.earn()
    while True:
        reply = yield from _attempt(shared, inquiry, tried)
        if reply.code is grpc.StatusCode.OK:
            return reply, failures + 1
        if inquiry.mend is not None and mended < _MAX_MENDS and reply.code in _REFUSALS:
            mended += 1
            if (yield from inquiry.mend(reply)):
                continue
        failures += 1
        tried.append(reply.attempt.target)
        remaining = inquiry.deadline - time.monotonic()
        delay = retry_delay(shared.config.retry, failures, reply.code, remaining, shared.random.random())
        if delay is None or not shared.budget.spend():
            raise _error(reply, failures)
        yield Sleep(delay)


def _attempt(shared: Shared, inquiry: Inquiry, tried: Sequence[Target]) -> Plan[Reply]:
    held = [shared.pool.acquire(tried, inquiry.only)]
    try:
        target = held[0]
        try:
            payload = yield from inquiry.prepare(target)
        except AttemptFailed as failed:
            reply = failed.reply
        else:
            attempt = new_attempt(shared, inquiry, target, inquiry.method, payload)
            yield from _probe(shared, attempt)
            if shared.config.hedge is None or attempt.deadline <= attempt.started:
                reply = yield from send(shared, attempt)
            else:
                reply = yield from _hedged(shared, inquiry, attempt, held)
        if reply.attempt.target in held:
            _settle(shared, inquiry, reply, held)
        return reply
    finally:
        for target in held:
            shared.pool.abandon(target)


def _hedged(shared: Shared, inquiry: Inquiry, attempt: Attempt, held: list[Target]) -> Plan[Reply]:
    """Send an attempt, and a second copy where it is late: the first good answer wins."""
    hedge = shared.config.hedge
    assert hedge is not None
    running = [attempt]
    yield Start(attempt)
    reply: Optional[Reply] = yield Wait(attempt.started + hedge.delay_seconds)
    if reply is None and time.monotonic() < attempt.deadline and shared.budget.spend():
        other = shared.pool.acquire([attempt.target])
        held.append(other)
        second = new_attempt(shared, inquiry, other, attempt.method, attempt.payload)
        second.hedge = True
        running.append(second)
        yield Start(second)
    failed: Optional[Reply] = None
    while True:
        if reply is None:
            reply = yield Wait(None)
            assert reply is not None
        running.remove(reply.attempt)
        shared.ended(reply)
        # The second copy was written for the first one's target, so its refusal decides nothing.
        final = reply.code is grpc.StatusCode.OK or (not reply.attempt.hedge and reply.code in _REFUSALS)
        if final or not running:
            break
        _settle(shared, inquiry, reply, held)
        failed, reply = (failed if reply.attempt.hedge else reply), None
    for loser in running:
        yield Cancel(loser)
        shared.ended(Reply(loser, grpc.StatusCode.CANCELLED, b"", "another attempt was faster"))
    if failed is not None and not final:
        _settle(shared, inquiry, reply, held)
        return failed
    return reply


def _settle(shared: Shared, inquiry: Inquiry, reply: Reply, held: list[Target]) -> None:
    attempt = reply.attempt
    held.remove(attempt.target)
    failed = reply.code in TARGET_FAILURES
    if reply.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        share = shared.config.retry.attempt_seconds or inquiry.call.deadline_seconds
        usual = min(inquiry.call.deadline_seconds, share)
        if attempt.deadline - attempt.started < _FAIR_SHARE * usual:
            shared.pool.abandon(attempt.target)
            return
    shared.changed(attempt.target, shared.pool.release(attempt.target, failed, time.monotonic()))


def _probe(shared: Shared, attempt: Attempt) -> Plan[None]:
    target = shared.pool.due_probe(attempt.started)
    if target is None:
        return
    deadline = attempt.started + attempt.call.deadline_seconds
    probe = Attempt(target, attempt.call, attempt.method, attempt.payload, attempt.started, deadline)
    probe.probe = True

    def done(reply: Optional[Reply]) -> None:
        if reply is None:
            shared.pool.probed(target, None, time.monotonic())
        else:
            shared.probed(reply)

    yield Probe(probe, done)


def _too_late(attempt: Attempt) -> Reply:
    return Reply(attempt, grpc.StatusCode.DEADLINE_EXCEEDED, b"", "the call's time was over before it was sent")


def _error(reply: Reply, attempts: int) -> CallError:
    return call_error(reply.code, reply.details, reply.attempt.target.address, attempts)
