"""Files that are read once: what was made of them stays in memory for as long as somebody says so."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

_Stamp = tuple[int, int, int]
# By path, what the file was when it was read or written, and what was made of it.
_kept: dict[str, tuple[_Stamp, Any]] = {}
_keepers = 0


@contextlib.contextmanager
def files_kept() -> Iterator[None]:
    """While it lasts, what `keep` is given stays in memory, and `find_kept` finds it again.

    For a run of few nodes in one process that read the same large files. Other runs would hold memory in vain.
    """
    global _keepers
    _keepers += 1
    try:
        yield
    finally:
        _keepers -= 1
        if not _keepers:
            _kept.clear()


def keep(path: str, content: Any) -> bool:
    """Remembers what a local file holds, if files are kept now.

    Args:
        path: The file.
        content: What was made of it, or what it was made of.

    Returns:
        Whether it was kept; nobody may change it then.
    """
    stamp = _stamp(path) if _keepers else None
    if stamp is None:
        return False
    _kept[path] = (stamp, content)
    return True


def find_kept(path: str) -> Any:
    """What was kept of a file; None of one that was not kept, or has changed since."""
    stamp, content = _kept.get(path, (None, None))
    return content if stamp is not None and stamp == _stamp(path) else None


def _stamp(path: str) -> _Stamp | None:
    """What changes with a local file; None of one that is not there."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
