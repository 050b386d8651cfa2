"""Carries plans out with blocking calls."""

import contextvars
import os
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any, Optional, cast

import grpc

from crossrec.serving.client.channels import channel_options, credentials, header_list
from crossrec.serving.client.config import ClientConfig
from crossrec.serving.client.errors import ClientStateError
from crossrec.serving.client.exchange import (
    Ask,
    Attempt,
    Cancel,
    Command,
    Plan,
    Probe,
    Reply,
    Sleep,
    Start,
    T,
    Together,
    Wait,
)
from crossrec.serving.client.observers import Observers

_OK = grpc.StatusCode.OK
# A deadline of zero would mean none at all to some versions of gRPC.
_MIN_TIMEOUT_SECONDS = 1e-3


class Transport:
    """A channel for each target. Threads may share it; processes may not.

    Args:
        config: The client's configuration.
        observers: Hooks that add headers.
    """

    def __init__(self, config: ClientConfig, observers: Observers) -> None:
        self._options = channel_options(config.keep_alive, config.tls)
        self._credentials = credentials(config)
        self._headers = config.headers
        self._observers = observers
        self._process = os.getpid()
        self._closed = False
        self._lock = threading.Lock()
        self._channels: dict[str, grpc.Channel] = {}
        self._stubs: dict[tuple[str, str], Any] = {}
        self._probes: set[Any] = set()

    def run(self, plan: Plan[T]) -> T:
        """Carry out a plan.

        Args:
            plan: What to do.

        Returns:
            The plan's result.

        Raises:
            ClientStateError: The client is closed, or was made before this process was forked.
        """
        if self._closed:
            raise ClientStateError("the client is closed", "Make a new one, or close it later")
        if os.getpid() != self._process:
            raise ClientStateError(
                f"the client belongs to process {self._process}, this is its fork {os.getpid()}",
                "Make the client after the fork, one per process: gRPC's connections do not survive it",
            )
        running = _Running()
        try:
            command = next(plan)
            while True:
                try:
                    result = self._do(command, running)
                except BaseException as error:  # the plan ends the call with it: targets, hooks
                    command = plan.throw(error)
                else:
                    command = plan.send(result)
        except StopIteration as end:
            return cast(T, end.value)
        finally:
            plan.close()
            running.cancel_all()

    def close(self) -> None:
        """Close the channels; calls under way are cancelled."""
        with self._lock:
            self._closed = True
            channels, self._channels = self._channels, {}
            self._stubs.clear()
        for channel in channels.values():
            channel.close()

    def _do(self, command: Command, running: "_Running") -> Any:
        if isinstance(command, Attempt):
            return self._call(command)
        if isinstance(command, Start):
            return running.add(command.attempt, self._future(command.attempt))
        if isinstance(command, Wait):
            return running.next(command.until)
        if isinstance(command, Cancel):
            return running.cancel(command.attempt)
        if isinstance(command, Sleep):
            return time.sleep(command.seconds)
        if isinstance(command, Ask):
            return command.function(command.argument)
        if isinstance(command, Together):
            return self._together(command.plans)
        return self._probe(command)

    def _together(self, plans: Sequence[Plan[Any]]) -> list[Any]:
        results: list[Any] = [None] * len(plans)
        errors: list[Optional[BaseException]] = [None] * len(plans)

        def run(place: int) -> None:
            try:
                results[place] = self.run(plans[place])
            except BaseException as error:  # raised below, on the caller's thread
                errors[place] = error

        # Each thread sees the caller's context, which holds the current span of a trace.
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(run, place), daemon=True)
            for place in range(1, len(plans))
        ]
        for thread in threads:
            thread.start()
        run(0)
        for thread in threads:
            thread.join()
        for error in errors:
            if error is not None:
                raise error
        return results

    def _call(self, attempt: Attempt) -> Reply:
        headers, timeout = self._prepared(attempt)
        try:
            payload = self._stub(attempt)(attempt.payload, timeout=timeout, metadata=headers)
        except grpc.RpcError as error:
            status = cast(grpc.Call, error)
            return Reply(attempt, status.code(), b"", status.details() or "")
        except ValueError as error:
            if self._closed:
                raise _closed_meanwhile() from error
            raise
        return Reply(attempt, _OK, payload, "")

    def _future(self, attempt: Attempt) -> Any:
        headers, timeout = self._prepared(attempt)
        return self._stub(attempt).future(attempt.payload, timeout=timeout, metadata=headers)

    def _probe(self, probe: Probe) -> None:
        future = self._future(probe.attempt)
        self._probes.add(future)

        def done(ended: Any) -> None:
            self._probes.discard(ended)
            probe.done(None if self._closed else _reply(probe.attempt, ended))

        future.add_done_callback(done)

    def _prepared(self, attempt: Attempt) -> tuple[Optional[list[tuple[str, str]]], float]:
        headers: Any = self._headers
        if callable(headers):
            headers = headers()
        more = self._observers.tell(lambda observer: list(observer.headers(attempt.call))) if self._observers else []
        pairs = header_list(headers, more) if headers or more else None
        return pairs, max(attempt.deadline - time.monotonic(), _MIN_TIMEOUT_SECONDS)

    def _stub(self, attempt: Attempt) -> Any:
        key = (attempt.target.address, attempt.method)
        stub = self._stubs.get(key)
        if stub is None:
            with self._lock:
                if self._closed:
                    raise _closed_meanwhile()
                stub = self._stubs[key] = self._channel(key[0]).unary_unary(key[1])
        return stub

    def _channel(self, address: str) -> grpc.Channel:
        channel = self._channels.get(address)
        if channel is None:
            if self._credentials is None:
                channel = grpc.insecure_channel(address, self._options)
            else:
                channel = grpc.secure_channel(address, self._credentials, self._options)
            self._channels[address] = channel
        return channel


def _closed_meanwhile() -> ClientStateError:
    return ClientStateError("the client was closed during a call", "Close it after the last call")


class _Running:
    """Started attempts of one plan, and their ends in the order in which they came."""

    def __init__(self) -> None:
        self._futures: dict[Attempt, Any] = {}
        self._ended: Optional[queue.SimpleQueue[tuple[Attempt, Any]]] = None

    def add(self, attempt: Attempt, future: Any) -> None:
        if self._ended is None:
            self._ended = queue.SimpleQueue()
        ended = self._ended
        self._futures[attempt] = future
        future.add_done_callback(lambda done: ended.put((attempt, done)))

    def next(self, until: Optional[float]) -> Optional[Reply]:
        assert self._ended is not None
        try:
            seconds = None if until is None else max(0.0, until - time.monotonic())
            attempt, future = self._ended.get(timeout=seconds)
        except queue.Empty:
            return None
        del self._futures[attempt]
        return _reply(attempt, future)

    def cancel(self, attempt: Attempt) -> None:
        self._futures.pop(attempt).cancel()

    def cancel_all(self) -> None:
        for future in self._futures.values():
            future.cancel()


def _reply(attempt: Attempt, future: Any) -> Reply:
    code = future.code()
    if code is _OK:
        return Reply(attempt, _OK, future.result(), "")
    return Reply(attempt, code, b"", future.details() or "")
