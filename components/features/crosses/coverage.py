"""What a cross covers in training, from a uniform sample of its combinations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossrec.components.features.crosses.counts import Array, KeyedCounts

ENOUGH = 5
"""Occurrences in training from which a combination counts as covered, where a cross has no count of its own."""

_SAMPLE = 2**16


@dataclass(frozen=True)
class Covered:
    """What was found.

    Attributes:
        distinct: Different combinations.
        collision_rate: Share of them that have an id together with others.
        coverage: Share of all occurrences that are of combinations that occur often enough.
    """

    distinct: int
    collision_rate: float
    coverage: float


class Coverage:
    """Counts the combinations with the smallest keys, which are a uniform sample because keys are hashes.

    So many combinations as fit into the sample are counted one by one; of more, their number is estimated from the
    largest of the smallest keys (Bar-Yossef, Jayram, Kumar, Sivakumar, Trevisan 2002, "Counting Distinct Elements
    in a Data Stream"). Only occurrences of rare combinations are extrapolated, which are small numbers each;
    those of frequent ones are what remains of all.
    """

    def __init__(self, sample: int = _SAMPLE):
        """Begins empty, to keep so many combinations."""
        self._sample, self._counts, self._total = sample, KeyedCounts(1, sample), 0

    def add(self, keys: Array) -> None:
        """Adds occurrences, int64 ``[n]``."""
        self._counts.add(keys, np.ones((len(keys), 1), np.int64))
        self._total += len(keys)

    def merge(self, other: Coverage) -> None:
        """Adds the occurrences of another."""
        self._counts.merge(other._counts)
        self._total += other._total

    def describe(self, buckets: int = 0, enough: int = ENOUGH) -> Covered:
        """What is covered.

        Args:
            buckets: Ids that combinations are hashed to; 0 if each has its own.
            enough: Occurrences from which a combination counts as covered.
        """
        keys, sums = self._counts.sums()
        counts = sums[:, 0]
        whole = len(keys) < self._sample
        distinct = len(keys) if whole else round((len(keys) - 1) / (float(keys[-1]) / 2.0**63))
        rare = float(counts[counts < enough].sum()) * (distinct / max(len(keys), 1))
        coverage = 1.0 - min(rare / self._total, 1.0) if self._total else 0.0
        if not buckets or not distinct:
            collisions = 0.0
        elif whole:
            _, places, sharing = np.unique(keys % buckets, return_inverse=True, return_counts=True)
            collisions = float((sharing[places] > 1).mean())
        else:
            collisions = -float(np.expm1((distinct - 1) * np.log1p(-1.0 / buckets)))
        return Covered(distinct, round(collisions, 6), round(coverage, 6))
