"""An advisory lock on a file, that the kernel gives back when its holder dies, however it dies."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from crossrec.serving.releases.errors import LockTimeoutError

_POLL_SECONDS = 0.05


@contextlib.contextmanager
def file_lock(path: Path, timeout_seconds: float, purpose: str) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` while the block runs.

    The lock belongs to this call: other threads of this process wait for it as other processes do. It is
    given back when the process ends, also by ``kill -9``, so no lock is ever stale. The file itself stays.

    Args:
      path: The lock file; made if it does not exist. Its directory must exist.
      timeout_seconds: How long to wait for another holder, in seconds; 0 means not at all.
      purpose: What is done under the lock, for the error message, e.g. ``"publishing to /models/shop"``.

    Yields:
      None.

    Raises:
      LockTimeoutError: If another holder kept the lock for the whole time. The message names the holder.
      OSError: If the file cannot be made or written.
    """
    descriptor = _acquire(path, timeout_seconds, purpose)
    try:
        _write_holder(descriptor)
        yield
    finally:
        # Unlock by name: a child forked meanwhile shares the descriptor, so closing it here would not do.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _acquire(path: Path, timeout_seconds: float, purpose: str) -> int:
    deadline = time.monotonic() + timeout_seconds
    while True:
        descriptor = _try_to_lock(path)
        if descriptor is not None:
            return descriptor
        if time.monotonic() >= deadline:
            raise LockTimeoutError(
                f"{path}: {purpose} is locked by {read_holder(path)}, and still was after "
                f"{timeout_seconds:g} seconds; wait until it has ended, or end that process "
                "(the lock goes with it), and try again"
            )
        time.sleep(_POLL_SECONDS)


def _try_to_lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    locked = False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked = _is_still(path, descriptor)
    except BlockingIOError:
        return None
    finally:
        if not locked:
            os.close(descriptor)
    return descriptor if locked else None


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the locked file is the one that others would open; someone may have removed it meanwhile."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _write_holder(descriptor: int) -> None:
    started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, (json.dumps(holder) + "\n").encode(), 0)


def read_holder(path: Path) -> str:
    """Describe the last process that took the lock.

    Args:
      path: The lock file.

    Returns:
      Process id, host and start time in words, or that they are unknown.
    """
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} since {holder['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        # The holder may be between taking the lock and writing its name.
        return "another process (which has not written its name yet)"
