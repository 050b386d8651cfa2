"""A bundle on a server: does it load, does it give the recorded answers, is it quick enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from crossrec.components.progress import progress
from crossrec.components.serving_check.config import ServingCheckConfig
from crossrec.components.serving_check.report import GoldenAnswer, Latency, Report
from crossrec.serving.launch.errors import LoadFailedError
from crossrec.serving.launch.standby import Standby
from crossrec.serving.launch.trial_server import Timeouts, TrialServer, ended, last_words, trial_server
from crossrec.serving.releases.bundle import validate_bundle
from crossrec.serving.releases.checks import Timings, ask_golden, time_requests
from crossrec.serving.releases.errors import CheckFailedError, InvalidBundleError, ReplicaDownError
from crossrec.serving.releases.golden import read_golden
from crossrec.serving.releases.replica import Replica

_SHOWN = 3
_LENGTH = 300
_TOO_SLOW = grpc.StatusCode.DEADLINE_EXCEEDED.name
_EXIT_SECONDS = 2.0


def check_bundle(
    model: str, version_dir: Path, log: Path, config: ServingCheckConfig, standby: Standby | None = None
) -> Report:
    """Load a bundle into a server of its own, ask it its golden requests, and measure it.

    What is wrong with the bundle becomes a failure of the report. The server is gone afterwards, however this ends.

    Args:
        model: Name under which it is served.
        version_dir: The bundle, as a version: ``<directory>/<version>``, with that number in its version asset.
        log: File for what the server writes.
        config: Which server, and the limits.
        standby: That server, if it was started ahead; ``log`` is then its own.

    Returns:
        The report.

    Raises:
        NoServerError: This machine has no such server.
        LaunchError: The server cannot be started, whatever it is to load.
    """
    try:
        validate_bundle(version_dir)
        read_golden(version_dir)
    except (InvalidBundleError, CheckFailedError) as error:
        return Report(failures=(_without(error, [version_dir]),), config=config)
    timeouts = Timeouts(config.load_timeout_seconds, config.call_timeout_seconds)
    progress("starting a server that loads the bundle")
    try:
        with trial_server(config.server, model, version_dir, log, timeouts, standby) as server:
            return ask(server, model, version_dir, config)
    except LoadFailedError as error:
        places = [version_dir] if standby is None else [version_dir, standby.place(version_dir)]
        return Report(failures=(_without(error, places),), server=error.server, config=config)


def ask(server: TrialServer, model: str, version_dir: Path, config: ServingCheckConfig) -> Report:
    """Ask a version that is loaded its golden requests, and if all answers are right measure it.

    Args:
        server: The server.
        model: Name under which it is served.
        version_dir: The version.
        config: The limits.

    Returns:
        The report; a server that ends meanwhile is a failure.

    Raises:
        CheckFailedError: The version has no golden requests.
    """
    version, golden = int(version_dir.name), read_golden(version_dir)
    answers: list[GoldenAnswer] = []
    latency, failures = None, []
    progress(f"{server.plan.label}: asking it {len(golden):,} golden requests")
    try:
        for number, log in enumerate(golden, start=1):
            answers.append(_golden_answer(server.replica, model, version, number, log, config.tolerance))
            if any(_TOO_SLOW in problem for problem in answers[-1].problems):
                break  # the others would take as long
        failures = _golden_failures(answers)
        if config.requests and not failures:
            requests = [log.predict_log.request for log in golden]
            progress(f"measuring {config.requests:,} requests")
            time_requests(server.replica, model, version, requests, config.warm_up_requests, config.concurrency)
            timings = time_requests(server.replica, model, version, requests, config.requests, config.concurrency)
            latency = _latency(timings)
            failures = _latency_failures(latency, timings.errors, config)
    except ReplicaDownError:
        failures.append(_how_it_went(server))
    return Report(
        failures=tuple(failures),
        server=server.plan.label,
        version=version,
        load_seconds=round(server.load_seconds, 3),
        golden=tuple(answers),
        latency=latency,
        config=config,
    )


def _golden_answer(replica: Replica, model: str, version: int, number: int, log: Any, tolerance: float) -> GoldenAnswer:
    found = ask_golden(replica, model, version, log, tolerance)
    return GoldenAnswer(
        number=number,
        signature=log.predict_log.request.model_spec.signature_name,
        # JSON has no infinity; the problem tells of it.
        deviation=found.deviation if found.deviation is None or math.isfinite(found.deviation) else None,
        problems=tuple(" ".join(problem.split())[:_LENGTH] for problem in found.problems),
    )


def _golden_failures(answers: Sequence[GoldenAnswer]) -> list[str]:
    lines = [
        f"golden request {answer.number} ({answer.signature}): {problem}"
        for answer in answers
        for problem in answer.problems
    ]
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [*lines[:_SHOWN], *more]


def _latency(timings: Timings) -> Latency:
    p50, p99 = (timings.percentile(q) for q in (50, 99))
    return Latency(
        requests=timings.requests,
        errors=len(timings.errors),
        p50_ms=None if p50 is None else round(p50, 3),
        p99_ms=None if p99 is None else round(p99, 3),
    )


def _latency_failures(latency: Latency, errors: Sequence[str], config: ServingCheckConfig) -> list[str]:
    """What of the report's own figures is above its limit."""
    failures = []
    if errors:
        failures.append(f"{len(errors)} of {latency.requests} requests failed, the first: {errors[0]}")
    for name, value, limit in (("p50", latency.p50_ms, config.p50_ms), ("p99", latency.p99_ms, config.p99_ms)):
        if limit is not None and value is not None and value > limit:
            failures.append(
                f"{name} is {value:.1f} ms over {latency.requests} requests; the limit serving.check.{name}_ms is "
                f"{limit:g}"
            )
    return failures


def _how_it_went(server: TrialServer) -> str:
    code = server.process.wait(_EXIT_SECONDS)
    if code is None:
        return "the server answers no more, although it still runs"
    return f"the server {ended(code)} while it was asked: {last_words(server.process.log_tail())}"


def _without(error: Exception, places: Sequence[Path]) -> str:
    """The message without the temporary folders, which say nothing to anybody."""
    message = str(error)
    for place in places:
        message = message.replace(f"{place}: ", "").replace(f"{place}/", "")
    return message
