"""Cuts the rows by time: where the cuts lie, and which split a row belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from crossrec.components.example_gen.split import SplitConfig
from crossrec.components.example_gen.window import DAY

SPLITS = ("train", "validation", "test")
"""Names of the splits, in the order of time."""

_MOST_BUCKETS = 1 << 17


class TimeCounts:
    """Counts rows per moment in bounded memory, with the same result in whatever order rows come.

    A bucket is 2^k seconds wide, where k is the smallest for which the number of buckets stays bounded: so it
    is exact to the second up to 131,072 distinct moments, and to 68 minutes over ten years of every second.
    """

    def __init__(self, most_buckets: int = _MOST_BUCKETS) -> None:
        """Start empty.

        Args:
            most_buckets: How many buckets are kept.
        """
        self._most = most_buckets
        self.shift = 0
        self._buckets = np.zeros(0, np.int64)
        self._rows = np.zeros(0, np.int64)
        self.first: int | None = None
        self.last: int | None = None

    def add(self, seconds: npt.NDArray[Any]) -> None:
        """Count rows.

        Args:
            seconds: Unix seconds, [rows].
        """
        if len(seconds):
            buckets, rows = np.unique(seconds >> self.shift, return_counts=True)
            self._join(buckets, rows, int(seconds.min()), int(seconds.max()))

    def merge(self, other: TimeCounts) -> None:
        """Add the counts of another worker."""
        if other.first is None or other.last is None:
            return
        shift = max(self.shift, other.shift)
        self._widen(shift - self.shift)
        self._join(other._buckets >> (shift - other.shift), other._rows, other.first, other.last)

    def moment(self, fraction: float) -> int:
        """Find the moment before which a fraction of the rows lies, at most.

        Args:
            fraction: From 0 to 1.

        Returns:
            Unix seconds, a bucket's first; rows of one bucket are never divided.
        """
        before = np.concatenate([[0], np.cumsum(self._rows)])
        # 1e-9: fractions such as 1 - 0.1 - 0.1 come out a hair too small.
        index = int(np.searchsorted(before, fraction * before[-1] + 1e-9, side="right")) - 1
        return int(self._buckets[min(index, len(self._buckets) - 1)]) << self.shift

    def _join(self, buckets: npt.NDArray[Any], rows: npt.NDArray[Any], first: int, last: int) -> None:
        self._buckets = np.concatenate([self._buckets, buckets])
        self._rows = np.concatenate([self._rows, rows])
        self._compact()
        while len(self._buckets) > self._most:
            self._widen(1)
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def _widen(self, by: int) -> None:
        if by:
            self.shift += by
            self._buckets = self._buckets >> by
            self._compact()

    def _compact(self) -> None:
        self._buckets, places = np.unique(self._buckets, return_inverse=True)
        self._rows = np.bincount(places, self._rows, len(self._buckets)).astype(np.int64)


def find_cuts(split: SplitConfig, times: TimeCounts) -> tuple[int, int]:
    """Find the first moments of validation and test.

    Args:
        split: What the spec says.
        times: The rows' times; at least one.

    Returns:
        Two unix seconds, ascending.
    """
    if split.cuts is not None:
        return split.cuts
    if split.test_days is not None and split.validation_days is not None:
        test = ((times.last or 0) // DAY + 1 - split.test_days) * DAY
        return test - split.validation_days * DAY, test
    test_share, validation_share = split.test or 0.0, split.validation or 0.0
    return times.moment(1.0 - test_share - validation_share), times.moment(1.0 - test_share)


def assign(seconds: npt.NDArray[Any], cuts: tuple[int, int]) -> npt.NDArray[Any]:
    """Assign rows to splits.

    Args:
        seconds: Unix seconds, [rows].
        cuts: First moments of validation and test.

    Returns:
        Indices into `SPLITS`, [rows].
    """
    return np.searchsorted(np.asarray(cuts, np.int64), seconds, side="right")
