"""Records exposures beside the requests: never in their way."""

from __future__ import annotations

import atexit
import collections
import logging
import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Callable, Protocol, Union

from crossrec.serving.experiments.exposure import Exposure
from crossrec.serving.experiments.exposure_files import ExposureFiles

_LOG = logging.getLogger("crossrec.serving.experiments")
_BATCH = 1000
_SECONDS_BETWEEN_COMPLAINTS = 60.0
_CLOSE_SECONDS = 10.0


class ExposureSink(Protocol):
    """Where records go; called on one thread only."""

    def write(self, exposures: Sequence[Exposure], dropped: int) -> None:
        """Write records; `dropped` counts those that were lost before them. An exception loses these too."""
        ...

    def close(self) -> None:
        """Finish."""
        ...

    def forked(self) -> None:
        """Begin anew in a process that was forked."""
        ...


Destination = Union[str, "os.PathLike[str]", ExposureSink, Callable[[Sequence[Exposure]], None]]


class ExposureLog:
    """A bounded queue and a thread that empties it.

    `record` takes about a microsecond, never waits and never fails. What does not fit into the queue, or what the
    sink could not take, is dropped, counted, and reported in the log and in the files. Records reach the system
    within `flush_seconds`; `close`, or the end of the program, writes the rest. After a fork the child goes on with a
    queue and a file of its own.

    Args:
        destination: A folder, see `ExposureFiles`; or a function that takes a list of records, such as one that sends
            them to Kafka; or a sink.
        max_waiting: Records that may wait.
        flush_seconds: How often the thread empties the queue.

    Raises:
        OSError: The folder cannot be made.
        ValueError: A number is not positive.
    """

    def __init__(self, destination: Destination, max_waiting: int = 100_000, flush_seconds: float = 0.5) -> None:
        if max_waiting < 1:
            raise ValueError(f"max_waiting={max_waiting}: give a positive number of records")
        if not 0 < flush_seconds < float("inf"):
            raise ValueError(f"flush_seconds={flush_seconds}: give a positive number of seconds")
        self._sink = _sink(destination)
        self._max_waiting = max_waiting
        self._flush_seconds = flush_seconds
        self._start()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            itself = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _forked(itself()))

    def _start(self) -> None:
        self._waiting: collections.deque[Exposure] = collections.deque()
        self._overflowed = self._refused = self._reported = 0
        self._complained = -float("inf")
        self._closed: bool = False
        self._stopping: threading.Event = threading.Event()
        self._counting: threading.Lock = threading.Lock()
        self._writing: threading.Lock = threading.Lock()
        self._thread: threading.Thread = threading.Thread(target=self._run, name="crossrec-exposures", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Records that were lost in this process so far."""
        return self._overflowed + self._refused

    def record(self, exposure: Exposure) -> None:
        """Take a record.

        Args:
            exposure: The record.
        """
        if self._closed or len(self._waiting) >= self._max_waiting:
            with self._counting:
                self._overflowed += 1
        else:
            self._waiting.append(exposure)

    def flush(self) -> None:
        """Write what waits now."""
        with self._writing:
            self._write()

    def close(self) -> None:
        """Write what waits and end the thread; later records are dropped."""
        if self._closed:
            return
        self._closed = True
        self._stopping.set()
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            _LOG.error("exposure records are not written %.0f s after the end; they are lost", _CLOSE_SECONDS)
            return
        self.flush()
        self._sink.close()
        atexit.unregister(self.close)

    def __enter__(self) -> ExposureLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stopping.wait(self._flush_seconds):
            self.flush()

    def _write(self) -> None:
        for _ in range(-(-len(self._waiting) // _BATCH) or 1):
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            dropped = self.dropped
            if not batch and dropped == self._reported:
                return
            try:
                self._sink.write(batch, dropped - self._reported)
                self._reported = dropped
            except Exception as error:
                self._refused += len(batch)
                self._complain(f"{type(error).__name__}: {error}")
        if self._overflowed:
            self._complain("the queue is full, or the log is closed")

    def _complain(self, why: str) -> None:
        now = time.monotonic()
        if now - self._complained >= _SECONDS_BETWEEN_COMPLAINTS:
            self._complained = now
            _LOG.error("%d exposure records are lost so far (%s); requests are not touched", self.dropped, why)


class _FunctionSink:
    def __init__(self, function: Callable[[Sequence[Exposure]], None]) -> None:
        self._function = function

    def write(self, exposures: Sequence[Exposure], dropped: int) -> None:
        if exposures:
            self._function(exposures)

    def close(self) -> None:
        pass

    def forked(self) -> None:
        pass


def _sink(destination: Destination) -> ExposureSink:
    if isinstance(destination, (str, os.PathLike)):
        return ExposureFiles(destination)
    if callable(destination):
        return _FunctionSink(destination)
    return destination


def _forked(log: ExposureLog | None) -> None:
    if log is not None and not log._closed:
        log._sink.forked()
        log._start()
