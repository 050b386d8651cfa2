"""The training time in parts of equally many rows."""

from __future__ import annotations

import numpy as np

from crossrec.components.features.crosses.counts import Array

_CELLS = 2**16


class TimeHistogram:
    """Rows by time, in cells whose length is the smallest power of two seconds that needs few enough of them.

    That length depends on the times alone and not on how they were split and merged.
    """

    def __init__(self, cells: int = _CELLS):
        """Begins empty, with so many cells at most."""
        self._most, self._shift, self._last = cells, 0, 0
        self._cells, self._counts = np.zeros(0, np.int64), np.zeros(0, np.int64)

    def add(self, times: Array) -> None:
        """Adds rows of the given times, int64 ``[n]`` unix seconds."""
        if len(times):
            self._last = max(self._last, int(times.max())) if len(self._cells) else int(times.max())
            self._put(times >> self._shift, np.ones(len(times), np.int64))

    def merge(self, other: TimeHistogram) -> None:
        """Adds the rows of another."""
        if not len(other._cells):
            return
        self._last = max(self._last, other._last) if len(self._cells) else other._last
        self._coarsen(max(other._shift - self._shift, 0))
        self._put(other._cells >> (self._shift - other._shift), other._counts)

    def boundaries(self, parts: int) -> Array | None:
        """Where parts end.

        Args:
            parts: How many parts.

        Returns:
            int64 ``[parts]``, ascending: the first second behind each part, the last behind all rows. None
            where all rows have one time, so that time tells none from the other.
        """
        if len(self._cells) < 2:
            return None
        shares = np.cumsum(self._counts) * parts / self._counts.sum()
        # The first cell before whose end so many parts of all rows lie; the part ends where the next one begins.
        last_cells = np.searchsorted(shares, np.arange(1, parts) - 1e-9)
        ends = np.append(self._cells[1:] << self._shift, self._last + 1)
        return np.append(ends[last_cells], self._last + 1)

    def _put(self, cells: Array, counts: Array) -> None:
        cells, counts = np.concatenate([self._cells, cells]), np.concatenate([self._counts, counts])
        self._cells, places = np.unique(cells, return_inverse=True)
        self._counts = np.zeros(len(self._cells), np.int64)
        np.add.at(self._counts, places, counts)
        while len(self._cells) > self._most:
            self._coarsen(1)

    def _coarsen(self, by: int) -> None:
        if by:
            self._shift += by
            cells, self._cells = self._cells >> by, np.zeros(0, np.int64)
            counts, self._counts = self._counts, np.zeros(0, np.int64)
            self._put(cells, counts)
