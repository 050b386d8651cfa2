"""Exposure records in files: a folder that many processes write to."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from crossrec.serving.experiments.exposure import Exposure

_SUFFIX = ".jsonl"


class ExposureFiles:
    """Appends lines to a file of this process's own, and starts a new one when it is full.

    Only whole lines are handed to the system, in one write. Where a process or a disk dies in the middle of it, the
    last line of that file is cut; nothing is written behind a cut line, and readers leave it out.

    Args:
        folder: Where the files go; made if it is not there.
        max_file_bytes: Size from which a new file is started.

    Raises:
        OSError: The folder cannot be made.
        ValueError: The size is not positive.
    """

    def __init__(self, folder: str | os.PathLike[str], max_file_bytes: int = 64 * 2**20) -> None:
        if max_file_bytes < 1:
            raise ValueError(f"max_file_bytes={max_file_bytes}: give a positive number of bytes")
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._max_file_bytes = max_file_bytes
        self._descriptor = -1
        self._bytes = 0
        self._files = 0

    def write(self, exposures: Sequence[Exposure], dropped: int) -> None:
        """Append records.

        Args:
            exposures: The records.
            dropped: Records that were lost since the last call; they get a line of their own.

        Raises:
            OSError: They could not be written, or not all of them.
        """
        lines = [exposure.line() for exposure in exposures]
        if dropped:
            lines.append(json.dumps({"dropped": dropped, "time": time.time()}))
        data = "".join([f"{line}\n" for line in lines]).encode("ascii")
        if not data:
            return
        if self._descriptor < 0:
            self._open()
        try:
            written = os.write(self._descriptor, data)
            if written < len(data):
                raise OSError(f"only {written} of {len(data)} bytes could be written to {self._folder}")
        except OSError:
            self.close()
            raise
        self._bytes += written
        if self._bytes >= self._max_file_bytes:
            self.close()

    def close(self) -> None:
        """Close the file; the next record starts a new one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def forked(self) -> None:
        """Leave the file to the parent process."""
        self.close()

    def _open(self) -> None:
        self._files += 1
        name = f"exposures-{socket.gethostname()}-{os.getpid()}-{time.time_ns()}-{self._files:06}{_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._descriptor = os.open(self._folder / name, flags, 0o644)
        self._bytes = 0
