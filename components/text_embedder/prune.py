"""Which encoders' folders of the cache are still worth their room."""

from __future__ import annotations

import posixpath
import re
import time
from collections.abc import Collection

from tfx.dsl.io import fileio

_FOLDER = re.compile(r"[0-9a-f]{64}")
_MARK = "used-"
# Another run may be at work with an encoder that this one does not know.
_BUSY_SECONDS = 86_400
KEPT_RUNS = 5


def prune(cache: str, digests: Collection[str], now: float | None = None) -> list[str]:
    """Marks the folders of this run's encoders as used, and removes those that are long out of use.

    Kept are those of this run, as many as ``KEPT_RUNS`` runs like this one use, and all that were used within a day.

    Args:
        cache: Root of the cache.
        digests: Of this run's encoders.
        now: Unix seconds; the time if left out.

    Returns:
        The folders that were removed.
    """
    moment = int(time.time() if now is None else now)
    for digest in digests:
        _mark(posixpath.join(cache, digest), moment)
    found = [name.rstrip("/") for name in (fileio.listdir(cache) if fileio.isdir(cache) else ())]
    last = {name: _last_used(posixpath.join(cache, name)) for name in found if _FOLDER.fullmatch(name)}
    latest = sorted(last, key=lambda name: (name in digests, last[name]), reverse=True)
    old = [name for name in latest[KEPT_RUNS * len(digests) :] if last[name] < moment - _BUSY_SECONDS]
    for name in old:
        fileio.rmtree(posixpath.join(cache, name))
    return old


def _mark(folder: str, moment: int) -> None:
    """Leaves the time in the name of a file: an object store cannot change the time of a folder."""
    fileio.makedirs(folder)
    former = fileio.glob(posixpath.join(folder, f"{_MARK}*"))
    path = posixpath.join(folder, f"{_MARK}{moment}")
    with fileio.open(path, "w") as file:
        file.write(f"{moment}\n")
    for each in former:
        # Another run may have been faster.
        if posixpath.basename(each) != posixpath.basename(path) and fileio.exists(each):
            fileio.remove(each)


def _last_used(folder: str) -> int:
    """Unix seconds; 0 where no run has said."""
    marks = [posixpath.basename(path).removeprefix(_MARK) for path in fileio.glob(posixpath.join(folder, f"{_MARK}*"))]
    return max((int(mark) for mark in marks if mark.isdigit()), default=0)
