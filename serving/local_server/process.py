"""The local server as a process of its own, for tests and pipeline code."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Optional, Union

from crossrec.serving.contract.names import DEFAULT_MODEL_NAME

READY_LINE = "Running gRPC ModelServer at "
_STOP_SECONDS = 20.0
_LOG_TAIL = 2000


class ServerStartError(RuntimeError):
    """The server did not become ready; the message holds the end of its log and the mend."""


class LocalServer:
    """Serves a model's directory while the context is open. It stops by itself when this process ends.

    Args:
        model_base_path: Directory with one sub-directory per version; the server is ready once it holds one.
            None where `flags` name a ``--model_config_file``.
        model_name: Name under which the model is served.
        port: Port on 127.0.0.1; 0 takes a free one.
        startup_seconds: Time until ready, after which starting fails.
        flags: Further flags of `crossrec.serving.local_server`, such as ``["--grpc_max_threads=2"]``.

    Attributes:
        target: Address for clients; empty before the start.

    Example:
        with LocalServer("run/serving/recommender") as server, RecommenderClient(server.target) as client:
            client.recommend({"user_id": "u17"})
    """

    def __init__(
        self,
        model_base_path: Optional[Union[str, Path]],
        model_name: str = DEFAULT_MODEL_NAME,
        port: int = 0,
        startup_seconds: float = 120.0,
        flags: Sequence[str] = (),
    ) -> None:
        self.model_name = model_name
        self.target = ""
        self._startup_seconds = startup_seconds
        self._command = [
            sys.executable,
            "-m",
            "crossrec.serving.local_server",
            *([f"--model_base_path={Path(model_base_path).absolute()}"] if model_base_path is not None else []),
            f"--model_name={model_name}",
            f"--port={port}",
            "--stop_with_stdin",
            *flags,
        ]
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._log: Any = None
        self._ready = threading.Event()

    @property
    def pid(self) -> Optional[int]:
        """Process id while it runs."""
        return self._process.pid if self._process is not None else None

    def log(self) -> str:
        """Return the end of what the server wrote to standard error."""
        if self._log is None:
            return ""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _LOG_TAIL))
        return str(self._log.read().decode("utf-8", "replace")).strip()

    def start(self, wait: bool = True) -> "LocalServer":
        """Start the server.

        Args:
            wait: Wait until it answers; otherwise `wait_until_ready` does.

        Returns:
            This object.

        Raises:
            ServerStartError: It ended, or was not ready in time.
        """
        self._ready.clear()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C in a terminal goes to this process, which then stops the server
        )
        threading.Thread(target=self._read_output, args=(self._process,), daemon=True).start()
        if wait:
            self.wait_until_ready(self._startup_seconds)
        return self

    def wait_until_ready(self, seconds: float) -> None:
        """Wait until the server answers.

        Args:
            seconds: How long.

        Raises:
            ServerStartError: It ended, or was not ready in time; it is stopped then.
        """
        done = self._ready.wait(seconds)
        if done and self.target:
            return
        log = self.log()
        code = self._process.poll() if self._process is not None else None
        self.stop()
        problem = f"ended with code {code}" if done else f"was not ready after {seconds:g} s"
        raise ServerStartError(
            f"the local server {problem}: {log or 'it wrote no error'}. Check that the base path holds a "
            f"version that loads: {' '.join(self._command[3:])}"
        )

    def stop(self) -> Optional[int]:
        """Stop the server after the requests under way.

        Returns:
            Its exit code; None where it was not running.
        """
        process, self._process, self.target = self._process, None, ""
        if process is None:
            return None
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        return process.returncode

    def __enter__(self) -> "LocalServer":
        return self.start() if self._process is None else self

    def __exit__(
        self,
        error_type: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()

    def _read_output(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            text = line.decode("utf-8", "replace")
            if text.startswith(READY_LINE):
                self.target = text[len(READY_LINE) :].split()[0]
                self._ready.set()
                break
        else:
            process.wait()
            self._ready.set()
