"""Work in pieces on all cores of this process, for numpy and TensorFlow, which let other threads go on meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def cores() -> int:
    """How many cores this process may use."""
    # macOS has no affinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> list[Result]:
    """Applies a function to pieces, as many at a time as there are cores.

    What comes out must not depend on how many there are: the pieces are the caller's, and no result may be a sum over
    what other threads do at the same time.

    Args:
        work: The function; called by several threads at once.
        pieces: Its arguments.

    Returns:
        Its results, in the order of the pieces.
    """
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(work, pieces))
