"""Which crosses are worth looking at."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from crossrec.components.cross_selector.data import Array, Sample
from crossrec.components.cross_selector.fields import Field

Names = tuple[str, ...]
_ROWS = 100_000
_DETERMINED = 1.01


class Candidates:
    """The crosses that a search may look at.

    Args:
        sample: The rows.
        families: The candidate features, and what each is a version of.
        max_pairs: Most ids of a cross in one row.
    """

    def __init__(self, sample: Sample, families: Mapping[str, str], max_pairs: int):
        self._families = families
        self._max_pairs = max_pairs
        self._sample = sample
        columns = sample.tasks[0].columns
        self._widths = {name: columns[name].shape[1] if columns[name].ndim == 2 else 1 for name in families}
        # A feature that is the same in all rows can add nothing.
        self.features = tuple(name for name in sample.candidates if name in families and sample.sizes[name] > 2)
        self._determined = _determined_pairs(sample, self.features)

    def field(self, names: Names) -> Field:
        """The field of a cross."""
        return search_field(self._sample, names)

    def family(self, names: Iterable[str]) -> frozenset[str]:
        """What a cross is about, whichever versions of it are crossed."""
        return frozenset(self._families.get(name, name) for name in names)

    def allowed(self, names: Names) -> bool:
        """Whether a cross says more than its parts could, and is not too wide."""
        if len(self.family(names)) < len(names) or int(np.prod([self._widths[n] for n in names])) > self._max_pairs:
            return False
        return not any((a, b) in self._determined for a, b in itertools.permutations(names, 2))

    def of_order(self, order: int, most: int) -> list[Names] | None:
        """All crosses of an order, or None if there are more than ``most``; pairs are always few enough."""
        everything = (names for names in itertools.combinations(self.features, order) if self.allowed(names))
        if order == 2:
            return list(everything)
        some = list(itertools.islice(everything, most + 1))
        return some if len(some) <= most else None

    def extending(self, parents: Sequence[Names]) -> list[Names]:
        """The crosses that extend one of the parents by one feature."""
        place = {name: number for number, name in enumerate(self.features)}
        extended = {
            tuple(sorted((*parent, name), key=place.__getitem__))
            for parent in parents
            for name in self.features
            if name not in parent
        }
        return sorted(names for names in extended if self.allowed(names))


def search_field(sample: Sample, names: Names) -> Field:
    """The field of a cross, with about as many ids as there are rows to fit them at most."""
    most = 2 ** min(max(sample.rows[0].bit_length() + 1, 16), 19)
    return Field(names, tuple(sample.sizes[name] for name in names), most)


def _determined_pairs(sample: Sample, features: Sequence[str]) -> set[tuple[str, str]]:
    """Pairs (a, b) where the value of a tells that of b, so that crossing them gives a again."""
    rows = sample.tasks[0].block(0)
    every = max(1, (rows.stop - rows.start) // _ROWS)
    codes = {name: _codes(sample.tasks[0].columns[name][rows.start : rows.stop : every]) for name in features}
    distinct = {name: int(values.max()) + 1 for name, values in codes.items()}
    determined = set()
    for a, b in itertools.combinations(features, 2):
        pairs = len(np.unique(codes[a].astype(np.int64) * distinct[b] + codes[b]))
        determined |= {pair for pair in ((a, b), (b, a)) if pairs <= _DETERMINED * distinct[pair[0]]}
    return determined


def _codes(values: Array) -> Array:
    """Rows as numbers of their different values (or sets of values)."""
    if values.ndim == 2:
        mixed = np.zeros(len(values), np.uint64)
        with np.errstate(over="ignore"):
            for column in np.sort(values, axis=1).T:
                mixed = (mixed ^ column.astype(np.int64).astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
                mixed ^= mixed >> np.uint64(29)
        values = mixed
    return np.unique(values, return_inverse=True)[1]
