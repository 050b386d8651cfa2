"""Batching of requests: what waits together is run together, as BatchingSession of TensorFlow Serving does.

Requests of one signature are joined along the first dimension, run once, and taken apart again. Threads that
all models share run the batches.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from crossrec.serving.local_server.statuses import StatusError, invalid_argument
from crossrec.serving.local_server.text_configs import BatchingParameters, read_text_config

Feeds = dict[Any, np.ndarray[Any, Any]]
Run = Callable[[Feeds], list[Any]]


@dataclass(frozen=True)
class BatchingConfig:
    """BatchingParameters, with TensorFlow Serving's defaults.

    Attributes:
        max_batch_size: Rows that a request may have, and that are run together.
        timeout_seconds: How long a batch that is not full waits for more.
        max_enqueued_batches: Batches that may wait, per signature.
        threads: Batches that run at the same time.
        allowed_batch_sizes: Sizes to which batches are filled up; empty for any size.
        pad_variable_length_inputs: Whether rows of different lengths are filled up to the longest.
        max_execution_batch_size: Rows that are run together where larger requests are split; None where they
            are not.
    """

    max_batch_size: int = 1000
    timeout_seconds: float = 0.0
    max_enqueued_batches: int = 10
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    max_execution_batch_size: int | None = None

    @property
    def execution_size(self) -> int:
        """Rows that are run together at most."""
        return self.max_execution_batch_size or self.max_batch_size

    def check(self) -> None:
        """Check the sizes; TensorFlow Serving does so at every load.

        Raises:
            StatusError: INVALID_ARGUMENT, the sizes do not rise or do not end in the largest batch.
        """
        sizes = self.allowed_batch_sizes
        if any(first >= second for first, second in zip(sizes, sizes[1:])):
            raise invalid_argument("allowed_batch_sizes entries must be monotonically increasing")
        if sizes and sizes[-1] != self.execution_size:
            limit = "max_execution_batch_size" if self.max_execution_batch_size else "max_batch_size"
            raise invalid_argument(
                f"Last entry in allowed_batch_sizes must match {limit}; last entry was {sizes[-1]}; "
                f"expected {self.execution_size}"
            )


def read_batching_config(path: Path | None) -> BatchingConfig:
    """Read the file that ``--batching_parameters_file`` names.

    Args:
        path: Text file with BatchingParameters; None for the defaults.

    Returns:
        The parameters.

    Raises:
        StatusError: The file cannot be read, or a number in it is not positive.
    """
    if path is None:
        return BatchingConfig()
    message = read_text_config(path, BatchingParameters)
    given: dict[str, Any] = {}
    for name, key in (
        ("max_batch_size", "max_batch_size"),
        ("max_enqueued_batches", "max_enqueued_batches"),
        ("num_batch_threads", "threads"),
        ("max_execution_batch_size", "max_execution_batch_size"),
    ):
        if message.HasField(name):
            given[key] = getattr(message, name).value
            if given[key] < 1:
                raise invalid_argument(f"{path}: {name} must be positive; was {given[key]}")
    if message.HasField("batch_timeout_micros"):
        given["timeout_seconds"] = message.batch_timeout_micros.value / 1e6
        if given["timeout_seconds"] < 0:
            raise invalid_argument(
                f"{path}: batch_timeout_micros must be non-negative; was {message.batch_timeout_micros.value}"
            )
    if not message.enable_large_batch_splitting.value:
        given.pop("max_execution_batch_size", None)
    return BatchingConfig(
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        pad_variable_length_inputs=message.pad_variable_length_inputs,
        **given,
    )


class _Task:
    """One request, or a part of one, that waits for its rows of a batch."""

    def __init__(self, feeds: Feeds, size: int) -> None:
        self.feeds = feeds
        self.size = size
        self.results: list[Any] = []
        self.error: StatusError | None = None
        self.done = threading.Event()


@dataclass
class _Batch:
    opened: float
    tasks: list[_Task] = field(default_factory=list)
    size: int = 0


class BatchScheduler:
    """The threads that run batches, shared by all models.

    Args:
        config: Sizes, times and the number of threads.
    """

    def __init__(self, config: BatchingConfig) -> None:
        self.config = config
        self._changed = threading.Condition()
        self._queues: dict[Any, tuple[Run, deque[_Batch]]] = {}
        for number in range(config.threads):
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True).start()

    def run(self, key: Any, feeds: Feeds, run: Run) -> list[Any]:
        """Run a request as a part of a batch.

        Args:
            key: Requests with equal keys may share a batch.
            feeds: Array [B, …] by tensor.
            run: Runs joined feeds; returns an array [B, …] per output.

        Returns:
            This request's rows of every output.

        Raises:
            StatusError: The arrays cannot be batched, the queue is full, or the batch failed.
        """
        size = _rows(feeds)
        if size > self.config.max_batch_size:
            raise invalid_argument(
                f"Task size {size} is larger than maximum input batch size {self.config.max_batch_size}"
            )
        step = self.config.execution_size
        tasks = [
            _Task({tensor: array[start : start + step] for tensor, array in feeds.items()}, min(step, size - start))
            for start in range(0, max(size, 1), step)
        ]
        with self._changed:
            for task in tasks:
                self._enqueue(key, task, run)
            self._changed.notify_all()
        for task in tasks:
            task.done.wait()
        for task in tasks:
            if task.error is not None:
                raise task.error
        if len(tasks) == 1:
            return tasks[0].results
        return [np.concatenate(parts) for parts in zip(*(task.results for task in tasks))]

    def _enqueue(self, key: Any, task: _Task, run: Run) -> None:
        _, batches = self._queues.setdefault(key, (run, deque()))
        if not batches or batches[-1].size + task.size > self.config.execution_size:
            if len(batches) >= self.config.max_enqueued_batches:
                raise StatusError(
                    grpc.StatusCode.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; currently "
                    f"{len(batches)} batches enqueued and max_enqueued_batches is {self.config.max_enqueued_batches}",
                )
            batches.append(_Batch(time.monotonic()))
        batches[-1].tasks.append(task)
        batches[-1].size += task.size

    def _work(self) -> None:
        while True:
            run, batch = self._take()
            try:
                _run_batch(batch, run, self.config)
            except StatusError as error:
                for task in batch.tasks:
                    task.error = error
            for task in batch.tasks:
                task.done.set()

    def _take(self) -> tuple[Run, _Batch]:
        with self._changed:
            while True:
                now, soonest = time.monotonic(), float("inf")
                for key, (run, batches) in self._queues.items():
                    oldest = batches[0]
                    due = oldest.opened + self.config.timeout_seconds
                    if len(batches) > 1 or oldest.size >= self.config.execution_size or due <= now:
                        batches.popleft()
                        # A queue lives while it holds something: a key dies with its version.
                        del self._queues[key]
                        if batches:
                            self._queues[key] = (run, batches)  # at the end: the other queues come first
                        return run, oldest
                    soonest = min(soonest, due)
                self._changed.wait(None if soonest == float("inf") else soonest - now)


def _rows(feeds: Mapping[Any, np.ndarray[Any, Any]]) -> int:
    if not feeds:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    size: int | None = None
    for array in feeds.values():
        if array.ndim == 0:
            raise invalid_argument("Batching Run() input tensors must have at least one dimension")
        if size not in (None, len(array)):
            raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
        size = len(array)
    return size or 0


def _run_batch(batch: _Batch, run: Run, config: BatchingConfig) -> None:
    filled = next((size for size in config.allowed_batch_sizes if size >= batch.size), batch.size)
    joined = {
        tensor: _joined([task.feeds[tensor] for task in batch.tasks], filled - batch.size, config)
        for tensor in batch.tasks[0].feeds
    }
    results = [np.asarray(result) for result in run(joined)]
    for result in results:
        if result.ndim == 0:
            raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if len(result) != filled:
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                "input tensors",
            )
    start = 0
    for task in batch.tasks:
        task.results = [result[start : start + task.size] for result in results]
        start += task.size


def _joined(arrays: list[np.ndarray[Any, Any]], missing: int, config: BatchingConfig) -> np.ndarray[Any, Any]:
    if len({array.shape[1:] for array in arrays}) > 1:
        if not config.pad_variable_length_inputs or len({array.ndim for array in arrays}) > 1:
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION,
                "Tensors from different tasks have different shapes and padding is turned off. Set "
                "pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal "
                "dimensions starting with the first dim.",
            )
        widest = np.max([array.shape[1:] for array in arrays], axis=0)
        arrays = [_padded(array, widest) for array in arrays]
    # The first row again: values that the model is known to take.
    parts = arrays + ([np.repeat(arrays[0][:1], missing, axis=0)] if missing and len(arrays[0]) else [])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _padded(array: np.ndarray[Any, Any], widest: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    widths = [(0, 0)] + [(0, int(size) - had) for size, had in zip(widest, array.shape[1:])]
    if array.size == 0:
        filler: Any = b"" if array.dtype == object else 0
    else:
        filler = array.flat[0]
    return np.pad(array, widths, constant_values=filler)
