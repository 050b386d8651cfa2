"""Sums of whole numbers by 64-bit key, in parts that merge to the same result in any order."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_BUFFER = 2**19


class KeyedCounts:
    """Sums by key.

    With ``smallest`` only the so many smallest keys are kept, whose sums are exact all the same: a key that is
    among the smallest of the whole is among the smallest of every part that has it.
    """

    def __init__(self, columns: int, smallest: int | None = None):
        """Begins empty.

        Args:
            columns: Numbers that are summed per key.
            smallest: How many keys to keep; all if left out.
        """
        self._smallest = smallest
        self._chunks: list[tuple[Array, Array]] = []
        self._keys, self._sums = np.zeros(0, np.int64), np.zeros((0, columns), np.int64)
        self._waiting = 0

    def add(self, keys: Array, values: Array) -> None:
        """Adds whole numbers int64 ``[n, columns]`` to the sums of keys int64 ``[n]``."""
        if self._smallest is not None and len(self._keys) == self._smallest:
            near = keys <= self._keys[-1]
            keys, values = keys[near], values[near]
        self._chunks.append((keys, values))
        self._waiting += len(keys)
        if self._waiting > max(_BUFFER // self._sums.shape[1], len(self._keys)):
            self._compact()

    def merge(self, other: KeyedCounts) -> None:
        """Adds the sums of another."""
        self.add(*other.sums())

    def sums(self) -> tuple[Array, Array]:
        """Keys int64 ``[k]``, ascending and each once, and their sums int64 ``[k, columns]``."""
        if self._chunks:
            self._compact()
        return self._keys, self._sums

    def _compact(self) -> None:
        keys = np.concatenate([self._keys, *(chunk for chunk, _ in self._chunks)])
        values = np.concatenate([self._sums, *(chunk for _, chunk in self._chunks)])
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], values[order]
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, np.int64)
        self._keys = keys[starts][: self._smallest]
        sums = np.add.reduceat(values, starts, axis=0) if len(starts) else values
        self._sums = sums[: self._smallest]
        self._chunks, self._waiting = [], 0
