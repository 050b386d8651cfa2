"""A server for a short trial of one version: a free port, a log, and a word on why it does not load."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crossrec.serving.launch.errors import LaunchError, LoadFailedError
from crossrec.serving.launch.guard import CANNOT_START
from crossrec.serving.launch.models import one_model
from crossrec.serving.launch.plans import Plan
from crossrec.serving.launch.ports import HOST, is_taken
from crossrec.serving.launch.process import ServerProcess
from crossrec.serving.launch.standby import Standby
from crossrec.serving.launch.trial_process import TrialProcess, start
from crossrec.serving.releases.converge import AVAILABLE
from crossrec.serving.releases.errors import ReplicaDownError
from crossrec.serving.releases.replica import Replica, VersionStatus

_PORTS_TRIED = 3
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 2.0
_REASON_LENGTH = 400
# Wrong flags or an error of the program; Docker's own errors; a program that is none. TensorFlow Serving and the local
# server end with 255 when a model does not load.
_NOT_THE_MODEL = (1, 2, 125, 126, CANNOT_START, 128 + signal.SIGILL)


@dataclass(frozen=True)
class TrialServer:
    """A server that has loaded its version.

    Attributes:
      plan: What was started.
      replica: Connection to it.
      load_seconds: Until the version was AVAILABLE, from the start of the process, or from when a server that was
        started ahead was shown the version.
      process: The process.
    """

    plan: Plan
    replica: Replica
    load_seconds: float
    process: ServerProcess


@dataclass(frozen=True)
class Timeouts:
    """How long is waited.

    Attributes:
      load_seconds: For the version to become AVAILABLE, with the start of a server that was not started ahead.
      call_seconds: For an answer.
    """

    load_seconds: float
    call_seconds: float


@contextlib.contextmanager
def trial_server(
    choice: str, model: str, version_dir: Path, log: Path, timeouts: Timeouts, standby: Standby | None = None
) -> Iterator[TrialServer]:
    """Start a server of one version and wait until it is loaded; the server is gone afterwards, however this ends.

    Args:
      choice: See `plans.choose`.
      model: Name of the model.
      version_dir: ``<directory>/<version>``, the only version in its directory.
      log: File for what the server writes; emptied first. With a standby that still runs, its own file is written.
      timeouts: How long is waited.
      standby: A server of that model that was started ahead, and has not been shown a version yet.

    Yields:
      The server.

    Raises:
      NoServerError: If this machine has no such server.
      LaunchError: If it does not start, whatever it is to load.
      LoadFailedError: If it ended, gave up or hung while it loaded the version.
    """
    for attempt in range(1, _PORTS_TRIED + 1):
        begin = time.monotonic()
        started = _show(standby, version_dir) if attempt == 1 else None
        started = started or start(choice, one_model(model, version_dir.parent), log)
        with started.process as process:
            problem = _wait(process, started.port, model, int(version_dir.name), timeouts.load_seconds)
            if problem:
                raise LoadFailedError(problem, started.plan.label)
            seconds = time.monotonic() - begin
            code = process.exit_code()
            if code is None:
                with Replica(f"{HOST}:{started.port}", timeouts.call_seconds) as replica:
                    yield TrialServer(started.plan, replica, seconds, process)
                return
        if not is_taken(started.port) or attempt == _PORTS_TRIED:
            raise _early_end(started.plan, code, process.log_tail())


def _show(standby: Standby | None, version_dir: Path) -> TrialProcess | None:
    """Let a server that was started ahead load the version; None where there is none, or it has ended."""
    if standby is None or standby.started.process.exit_code() is not None:
        return None
    standby.show(version_dir)
    return standby.started


def last_words(log: str) -> str:
    """Return the last line of a log, cut to a length that fits a message; Docker's hint to its manual is none."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and "docker run --help" not in line]
    return lines[-1][:_REASON_LENGTH] if lines else "it wrote nothing"


def ended(code: int) -> str:
    """Put an exit code into words."""
    number = code - 128
    names = {one.value: one.name for one in signal.Signals}
    return f"was ended by {names[number]}" if number in names else f"ended with code {code}"


def _early_end(plan: Plan, code: int, log: str) -> LaunchError | LoadFailedError:
    told = f"{plan.label} {ended(code)}"
    if code in _NOT_THE_MODEL:
        return LaunchError(f"{told} at its start: {last_words(log)}", "See to that, or choose another server")
    return LoadFailedError(f"the server {ended(code)} while it loaded the model: {last_words(log)}", plan.label)


def _wait(process: ServerProcess, port: int, model: str, version: int, seconds: float) -> str:
    """Wait until the version is AVAILABLE or the server has ended; return why it must be given up, "" if not."""
    end = time.monotonic() + seconds
    while process.exit_code() is None:
        status = _status(port, model, version)
        if status is not None and status.state == AVAILABLE:
            return ""
        if status is not None and status.error:
            return f"the server cannot load the model: {status.error[:_REASON_LENGTH]}"
        if time.monotonic() > end:
            return f"the server has not loaded the model after {seconds:g} s: {last_words(process.log_tail())}"
        time.sleep(_POLL_SECONDS)
    return ""


def _status(port: int, model: str, version: int) -> VersionStatus | None:
    # The port stays closed while the first version is loaded. A connection that has failed waits longer and longer
    # before it tries again, so each look has its own.
    if not is_taken(port):
        return None
    with Replica(f"{HOST}:{port}", _LOOK_SECONDS) as replica:
        try:
            return replica.statuses(model).get(version)
        except ReplicaDownError:
            return None
