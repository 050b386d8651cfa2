"""A server in a process of its own, that ends with this one in any case."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from crossrec.serving.launch.plans import Plan

STOP_SECONDS = 20.0
_GUARD = Path(__file__).with_name("guard.py")
# The guard kills the server after the time of grace and may have to run a clean-up.
_GUARD_SECONDS = 35.0
_TAIL_BYTES = 4000


class ServerProcess:
    """Runs a server under a guard, see `guard`. Use it as a context: it is stopped on the way out.

    Server and guard have a session of their own, so that Ctrl-C in a terminal reaches this process alone, which then
    stops them in order. Should this process be killed, the guard sees that and ends the server.

    Args:
        plan: The server.
        log: File for everything that the server writes; None leaves its standard error to this process's.
        environment: Further variables.
        grace_seconds: Time that the server has to end by itself when it is stopped.
    """

    def __init__(
        self,
        plan: Plan,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        grace_seconds: float = STOP_SECONDS,
    ) -> None:
        self._log = log
        self._grace_seconds = grace_seconds
        order = {"command": plan.command, "cleanup": plan.cleanup, "grace_seconds": grace_seconds}
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(log.open("ab")) if log is not None else None
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=out or subprocess.DEVNULL,
                stderr=out,
                start_new_session=True,
                env={**os.environ, **plan.environment, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        """Process id of the guard, which is also the id of the process group."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return the server's exit code, 128 + N after signal N; None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """Give the server a moment to end.

        Args:
            seconds: How long.

        Returns:
            As `exit_code`.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.poll()

    def log_tail(self) -> str:
        """Return the end of what the server wrote; empty without a log file."""
        if self._log is None:
            return ""
        with self._log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace").strip()

    def stop(self) -> int:
        """End the server, and everything that it has started; once it has ended, nothing more.

        Returns:
            Its exit code.
        """
        if self._process.returncode is not None and self._process.stdin is not None and self._process.stdin.closed:
            return self._process.returncode
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(self._grace_seconds + _GUARD_SECONDS)
            except subprocess.TimeoutExpired:
                self._kill_group()
        code = self._process.wait()
        self._kill_group()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
