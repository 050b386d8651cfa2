"""How many different values there are, in bounded memory and in whatever order they come."""

from __future__ import annotations

import math

import numpy as np

from crossrec.components.features.item_table import Array

_BITS = 14
_SIZE = 1 << _BITS
_REST = 62 - _BITS


class DistinctCount:
    r"""A count by HyperLogLog; counts of several workers merge to that of all their values.

    It has :math:`m = 2^{14}` registers, which are 16 kB, and a standard error of :math:`1.04 / \sqrt m = 0.8\,\%`
    (Flajolet, Fusy, Gandouet, Meunier, 2007, "HyperLogLog: the analysis of a near-optimal cardinality estimation
    algorithm").
    """

    def __init__(self) -> None:
        """Starts empty."""
        self._registers = np.zeros(_SIZE, np.uint8)

    def add(self, hashes: Array) -> None:
        """Counts values.

        Args:
            hashes: Of the values, int64 ``[n]``, uniform from 0 to 2^62 - 1.
        """
        rest = hashes >> _BITS
        # The place of the first 1 from the left, by the exponent: exact below 2^53.
        _, exponents = np.frexp(rest.astype(np.float64))
        np.maximum.at(self._registers, hashes & (_SIZE - 1), (_REST + 1 - exponents).astype(np.uint8))

    def merge(self, other: DistinctCount) -> None:
        """Adds the values of another count."""
        self._registers = np.maximum(self._registers, other._registers)

    def estimate(self) -> float:
        """Number of different values, about; few are counted by the registers that are still empty."""
        empty = int((self._registers == 0).sum())
        raw = 0.7213 / (1.0 + 1.079 / _SIZE) * _SIZE**2 / float(np.sum(2.0 ** -self._registers.astype(np.float64)))
        return _SIZE * math.log(_SIZE / empty) if raw <= 2.5 * _SIZE and empty else raw
