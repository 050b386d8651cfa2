"""What a loaded version must prove on a replica: golden answers, few errors, low latency."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from crossrec.serving.contract.messages import PredictRequest
from crossrec.serving.contract.prediction_logs import read_prediction_logs
from crossrec.serving.contract.tfrecord import RecordError
from crossrec.serving.releases.errors import CheckFailedError, ReplicaDownError, UsageError
from crossrec.serving.releases.fleet import Limits
from crossrec.serving.releases.golden import Comparison, compare, read_golden
from crossrec.serving.releases.replica import Replica, error_text

_SHOWN = 3


@dataclass(frozen=True)
class CheckResult:
    """What a check found, all of it within the limits.

    Attributes:
      golden: Golden answers that were compared.
      requests: Requests that were measured.
      errors: How many of these failed.
      p50_ms: Median latency in milliseconds, of those that were answered.
      p99_ms: 99th percentile in milliseconds.
    """

    golden: int
    requests: int = 0
    errors: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None


def check_golden(replica: Replica, model: str, version: int, version_dir: Path, tolerance: float) -> int:
    """Ask a version its golden requests and compare the answers.

    Args:
      replica: The server.
      model: Name of the model.
      version: The version, which must be available there.
      version_dir: Its directory.
      tolerance: See `golden.compare`.

    Returns:
      Number of answers compared.

    Raises:
      CheckFailedError: If an answer differs or a request is refused.
      ReplicaDownError: If the server does not answer.
    """
    logs = read_golden(version_dir)
    failures = []
    for number, log in enumerate(logs, start=1):
        answer = ask_golden(replica, model, version, log, tolerance)
        failures += [f"golden request {number}: {line}" for line in answer.problems]
    if failures:
        more = f" (and {len(failures) - _SHOWN} more)" if len(failures) > _SHOWN else ""
        raise CheckFailedError(
            f"{replica.target}: {model} {version} gives wrong answers: {'; '.join(failures[:_SHOWN])}{more}"
        )
    return len(logs)


def ask_golden(replica: Replica, model: str, version: int, log: Any, tolerance: float) -> Comparison:
    """Ask a version one golden request.

    Args:
      replica: The server.
      model: Name of the model.
      version: The version.
      log: PredictionLog with request and answer.
      tolerance: See `golden.compare`.

    Returns:
      How the answer compares; a refusal is a problem like any other.

    Raises:
      ReplicaDownError: If the server does not answer.
    """
    try:
        response = replica.predict(_addressed(log.predict_log.request, model, version))
    except grpc.RpcError as error:
        _require_answer(replica, error)
        return Comparison([error_text(error)])
    return compare(log.predict_log.response, response, version, tolerance)


@dataclass(frozen=True)
class Timings:
    """What became of requests that were measured.

    Attributes:
      latencies_ms: Milliseconds of each answer.
      errors: Code and message of each request that failed.
    """

    latencies_ms: tuple[float, ...]
    errors: tuple[str, ...] = ()

    @property
    def requests(self) -> int:
        """How many there were."""
        return len(self.latencies_ms) + len(self.errors)

    def percentile(self, q: float) -> float | None:
        """Latency in milliseconds that q percent of the answers do not exceed; None without an answer."""
        return float(np.percentile(self.latencies_ms, q)) if self.latencies_ms else None


def time_requests(
    replica: Replica, model: str, version: int, requests: Sequence[Any], count: int, concurrency: int = 1
) -> Timings:
    """Send requests in turn and time them.

    Args:
      replica: The server.
      model: Name of the model.
      version: The version.
      requests: PredictRequest messages, asked in turn.
      count: How many requests are sent.
      concurrency: How many are under way at the same time.

    Returns:
      What was measured.

    Raises:
      ReplicaDownError: If the server does not answer.
    """
    addressed = [_addressed(request, model, version) for request in requests]
    latencies: list[float] = []
    errors: list[str] = []

    def send(first: int) -> None:
        for number in range(first, count if addressed else 0, concurrency):
            begin = time.perf_counter()
            try:
                replica.predict(addressed[number % len(addressed)])
            except grpc.RpcError as error:
                _require_answer(replica, error)
                errors.append(error_text(error))
            else:
                latencies.append(1e3 * (time.perf_counter() - begin))

    if concurrency == 1:
        send(0)
    else:
        with ThreadPoolExecutor(concurrency) as pool:
            list(pool.map(send, range(concurrency)))
    return Timings(tuple(latencies), tuple(errors))


def measure(replica: Replica, model: str, version: int, requests: Sequence[Any], limits: Limits) -> CheckResult:
    """Measure latency and errors of a version, one request after the other.

    Args:
      replica: The server.
      model: Name of the model.
      version: The version.
      requests: PredictRequest messages, asked in turn.
      limits: How many requests, and the limits.

    Returns:
      What was measured.

    Raises:
      CheckFailedError: If a limit is exceeded; the message says which, and by how much.
      ReplicaDownError: If the server does not answer.
    """
    timings = time_requests(replica, model, version, requests, limits.requests)
    errors, total = timings.errors, timings.requests
    if total and len(errors) / total > limits.error_rate:
        raise CheckFailedError(
            f"{replica.target}: {model} {version} fails {len(errors)} of {total} requests, "
            f"{len(errors) / total:.2%}; the limit "
            f"error_rate is {limits.error_rate:.2%}. The first error: {errors[0]}"
        )
    p50, p99 = timings.percentile(50), timings.percentile(99)
    if limits.p99_ms is not None and p99 is not None and p99 > limits.p99_ms:
        raise CheckFailedError(
            f"{replica.target}: {model} {version} is too slow: p99 {p99:.1f} ms over {len(timings.latencies_ms)} "
            "requests; the limit "
            f"p99_ms is {limits.p99_ms:g}"
        )
    return CheckResult(0, total, len(errors), p50, p99)


def recorded_requests(path: Path, model: str) -> list[Any]:
    """Read requests of real traffic for `measure`.

    Args:
      path: TFRecord of PredictionLog, such as TensorFlow Serving's request logging writes.
      model: Requests to other models are left out; those without a name count.

    Returns:
      PredictRequest messages.

    Raises:
      UsageError: If the file cannot be read, or holds none.
    """
    try:
        logs = read_prediction_logs(path)
    except (OSError, RecordError) as error:
        raise UsageError(f"--requests {path}: {error}; give a TFRecord of PredictionLog") from error
    requests = [log.predict_log.request for log in logs if log.WhichOneof("log_type") == "predict_log"]
    return [request for request in requests if request.model_spec.name in ("", model)]


def golden_requests(version_dir: Path) -> list[Any]:
    """Return the requests alone of a version's golden file, for `measure`."""
    return [log.predict_log.request for log in read_golden(version_dir)]


def _addressed(request: Any, model: str, version: int) -> Any:
    addressed = PredictRequest()
    addressed.CopyFrom(request)
    addressed.model_spec.name = model
    addressed.model_spec.version.value = version
    return addressed


def _require_answer(replica: Replica, error: grpc.RpcError) -> None:
    """Tell a server that is gone from one that refuses or is too slow."""
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        try:
            replica.require_up()
        except ReplicaDownError as down:
            raise down from error
