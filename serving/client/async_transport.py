"""Carries plans out on an asyncio event loop."""

import asyncio
import inspect
import time
from typing import Any, Optional, cast

import grpc
import grpc.aio

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
_MIN_TIMEOUT_SECONDS = 1e-3


class AsyncTransport:
    """A channel for each target, on the event loop of the first call.

    Args:
        config: The client's configuration.
        observers: Hooks that add headers.
    """

    def __init__(self, config: ClientConfig, observers: Observers) -> None:
        self._options = channel_options(config.keep_alive, config.tls)
        self._credentials = credentials(config)
        self._headers = config.headers
        self._observers = observers
        self._closed = False
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._stubs: dict[tuple[str, str], Any] = {}
        self._probes: set[asyncio.Task[None]] = set()

    async def run(self, plan: Plan[T]) -> T:
        """Carry out a plan. Cancelling this cancels what it has sent.

        Args:
            plan: What to do.

        Returns:
            The plan's result.

        Raises:
            ClientStateError: The client is closed, or has been used on another event loop.
        """
        if self._closed:
            raise ClientStateError("the client is closed", "Make a new one, or close it later")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise ClientStateError(
                "the client has been used on another event loop", "Make one client per event loop and process"
            )
        running: dict[asyncio.Task[Reply], Attempt] = {}
        try:
            command = next(plan)
            while True:
                try:
                    result = await self._do(command, running)
                except BaseException as error:  # the plan ends the call with it: targets, hooks
                    command = plan.throw(error)
                else:
                    command = plan.send(result)
        except StopIteration as end:
            return cast(T, end.value)
        finally:
            plan.close()
            for task in running:
                task.cancel()

    async def close(self) -> None:
        """Close the channels; calls under way are cancelled."""
        self._closed = True
        probes = list(self._probes)
        for task in probes:
            task.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        channels, self._channels = self._channels, {}
        self._stubs.clear()
        for channel in channels.values():
            await channel.close()

    async def _do(self, command: Command, running: "dict[asyncio.Task[Reply], Attempt]") -> Any:
        if isinstance(command, Attempt):
            return await self._call(command)
        if isinstance(command, Start):
            running[asyncio.ensure_future(self._call(command.attempt))] = command.attempt
            return None
        if isinstance(command, Wait):
            seconds = None if command.until is None else max(0.0, command.until - time.monotonic())
            done, _ = await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return None
            task = next(one for one in running if one in done)
            del running[task]
            return task.result()
        if isinstance(command, Cancel):
            task = next(one for one, attempt in running.items() if attempt is command.attempt)
            del running[task]
            task.cancel()
            return None
        if isinstance(command, Sleep):
            return await asyncio.sleep(command.seconds)
        if isinstance(command, Ask):
            result = command.function(command.argument)
            return await result if inspect.isawaitable(result) else result
        if isinstance(command, Together):
            ends = await asyncio.gather(*map(self.run, command.plans), return_exceptions=True)
            for end in ends:
                if isinstance(end, BaseException):
                    raise end
            return ends
        return self._start_probe(command)

    def _start_probe(self, probe: Probe) -> None:
        task = asyncio.ensure_future(self._probe(probe))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _probe(self, probe: Probe) -> None:
        reply = None
        try:
            reply = await self._call(probe.attempt)
        finally:
            probe.done(reply)

    async def _call(self, attempt: Attempt) -> Reply:
        headers: Any = self._headers
        if callable(headers):
            headers = headers()
            if inspect.isawaitable(headers):
                left = max(attempt.deadline - time.monotonic(), _MIN_TIMEOUT_SECONDS)
                try:
                    headers = await asyncio.wait_for(headers, left)
                except asyncio.TimeoutError:
                    details = "the headers' callable took the attempt's whole time"
                    return Reply(attempt, grpc.StatusCode.DEADLINE_EXCEEDED, b"", details)
        more = self._observers.tell(lambda observer: list(observer.headers(attempt.call))) if self._observers else []
        pairs = header_list(headers, more) if headers or more else None
        timeout = max(attempt.deadline - time.monotonic(), _MIN_TIMEOUT_SECONDS)
        try:
            payload = await self._stub(attempt)(attempt.payload, timeout=timeout, metadata=pairs)
        except grpc.aio.AioRpcError as error:
            return Reply(attempt, error.code(), b"", error.details() or "")
        except asyncio.CancelledError:
            # Closing a channel looks like a cancelled task, which the caller's is not.
            if not self._closed or _is_cancelled():
                raise
            return Reply(attempt, grpc.StatusCode.CANCELLED, b"", "the client was closed")
        return Reply(attempt, _OK, payload, "")

    def _stub(self, attempt: Attempt) -> Any:
        key = (attempt.target.address, attempt.method)
        stub = self._stubs.get(key)
        if stub is None:
            if self._closed:
                raise ClientStateError("the client was closed during a call", "Close it after the last call")
            stub = self._stubs[key] = self._channel(key[0]).unary_unary(key[1])
        return stub

    def _channel(self, address: str) -> grpc.aio.Channel:
        channel = self._channels.get(address)
        if channel is None:
            if self._credentials is None:
                channel = grpc.aio.insecure_channel(address, self._options)
            else:
                channel = grpc.aio.secure_channel(address, self._credentials, self._options)
            self._channels[address] = channel
        return channel


def _is_cancelled() -> bool:
    """Tell whether the current task is itself being cancelled, as far as Python says (from 3.11)."""
    cancelling = getattr(asyncio.current_task(), "cancelling", None)
    return cancelling is not None and bool(cancelling())
