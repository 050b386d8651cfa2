"""How this process gives memory back."""

from __future__ import annotations

import ctypes
import platform

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def reuse_freed_memory() -> None:
    """Lets this process use freed memory again, in place of giving it back and asking for more.

    Large arrays come and go in a run that handles a whole catalogue. Memory for each is otherwise taken from the system
    anew, which clears every page of it. The process holds somewhat more at its peak, and gives it back when it ends.
    Only the GNU C library is told; others do as they do.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1)):
        library.mallopt(parameter, value)
