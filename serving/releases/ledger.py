"""The ledger: one line of JSON for everything that happened to a release, only ever appended to."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossrec.serving.releases.durable import make_directories, sync
from crossrec.serving.releases.errors import ReleaseError, describe_os_error


class Ledger:
    """A file of events.

    A line is written by one call and flushed to disk before it counts. One that was cut short by a kill or a full
    disk is closed by the next writer, and readers skip it.

    Args:
      path: The file; made with the first event.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Write an event.

        Args:
          event: What happened; the time is added.

        Returns:
          The event as it was written.

        Raises:
          ReleaseError: If it could not be written: no space, no permission.
        """
        return self._append(event, once=False) or dict(event)

    def append_once(self, event: Mapping[str, Any]) -> bool:
        """Write an event unless one with the same ``id`` and ``event`` is there already.

        Args:
          event: What happened.

        Returns:
          Whether it was written.

        Raises:
          ReleaseError: If it could not be written.
        """
        return self._append(event, once=True) is not None

    def events(self) -> list[dict[str, Any]]:
        """Read all events.

        Returns:
          Events in the order in which they were written; damaged lines are left out.

        Raises:
          ReleaseError: If the file cannot be read.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ReleaseError(f"cannot read the ledger: {describe_os_error(error, self.path.parent)}") from error
        parsed = (_parse(line) for line in lines)
        return [event for event in parsed if event is not None]

    def _append(self, event: Mapping[str, Any], once: bool) -> dict[str, Any] | None:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        full = {"time": now, **event}
        line = json.dumps(full, ensure_ascii=False).encode() + b"\n"
        try:
            make_directories(self.path.parent)
            is_new = not self.path.exists()
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                key = (event.get("id"), event.get("event"))
                if once and any((old.get("id"), old.get("event")) == key for old in self.events()):
                    return None
                _write_line(descriptor, line)
            finally:
                os.close(descriptor)
            if is_new:
                sync(self.path.parent)
        except OSError as error:
            raise ReleaseError(
                f"cannot write the ledger: {describe_os_error(error, self.path.parent, len(line))}"
            ) from error
        return full


def _write_line(descriptor: int, line: bytes) -> None:
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line
    view = memoryview(line)
    # A disk that is nearly full takes a part and refuses the rest; O_APPEND continues where it stopped.
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
