"""Sampling items of a group in proportion to their popularity, among those released by a moment, without loops.

All groups (everything, a category, a brand, a category's brand, a category's attribute word) lie behind one
another in one array, sorted by group and release time. The items of a group that are released by time t are
then a run of that array, found by binary search; a draw by popularity is a binary search in the running sum of weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import vocabulary
from .catalogue import Catalogue

IntArray = npt.NDArray[np.int64]

_TIME_BITS = 34
_BRANDS, _ATTRIBUTES = len(vocabulary.BRANDS), len(vocabulary.ATTRIBUTES)
_FIRST_CATEGORY = 1
_FIRST_BRAND = _FIRST_CATEGORY + len(vocabulary.CATEGORIES)
_FIRST_CATEGORY_BRAND = _FIRST_BRAND + _BRANDS
_FIRST_CATEGORY_ATTRIBUTE = _FIRST_CATEGORY_BRAND + len(vocabulary.CATEGORIES) * _BRANDS
_GROUPS = _FIRST_CATEGORY_ATTRIBUTE + len(vocabulary.CATEGORIES) * _ATTRIBUTES

EVERYTHING = 0


def category_group(category: IntArray) -> IntArray:
    """Return the group of a category's items."""
    return _FIRST_CATEGORY + category


def brand_group(brand: IntArray) -> IntArray:
    """Return the group of a brand's items."""
    return _FIRST_BRAND + brand


def category_brand_group(category: IntArray, brand: IntArray) -> IntArray:
    """Return the group of a brand's items in a category."""
    return _FIRST_CATEGORY_BRAND + category * _BRANDS + brand


def category_attribute_group(category: IntArray, attribute: IntArray) -> IntArray:
    """Return the group of a category's items with an attribute word in the title."""
    return _FIRST_CATEGORY_ATTRIBUTE + category * _ATTRIBUTES + attribute


class Run(NamedTuple):
    """Runs of released items: positions [begin, end) in the postings; both int64 [n]."""

    begin: IntArray
    end: IntArray


class Postings:
    """Items by group and release time; 24 bytes for each of about 7 entries an item.

    Args:
        catalogue: the items.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        category = catalogue.category.astype(np.int64)
        brand = catalogue.brand.astype(np.int64)
        every = np.arange(len(category), dtype=np.int64)
        groups = [
            np.zeros_like(every), category_group(category), brand_group(brand), category_brand_group(category, brand)
        ]  # fmt: skip
        items = [every] * len(groups)
        for slot in range(catalogue.attributes.shape[1]):
            attribute = catalogue.attributes[:, slot].astype(np.int64)
            has = attribute >= 0
            groups.append(category_attribute_group(category[has], attribute[has]))
            items.append(every[has])
        item = np.concatenate(items)
        keys = (np.concatenate(groups) << _TIME_BITS) | catalogue.release[item]
        order = np.argsort(keys, kind="stable")
        self._keys: IntArray = keys[order]
        self._items = item[order].astype(np.int32)
        self._starts = np.searchsorted(self._keys, np.arange(_GROUPS, dtype=np.int64) << _TIME_BITS)
        self._cumulative = np.zeros(len(self._items) + 1)
        self.reweight(np.ones(len(every)))

    def reweight(self, weights: npt.NDArray[np.float64]) -> None:
        """Set the items' popularity weights, float64 [I], all above zero."""
        np.cumsum(weights[self._items], out=self._cumulative[1:])

    def run(self, groups: IntArray, times: IntArray) -> Run:
        """Find what is released in a group by a moment; where a group is still empty, everything released.

        Args:
            groups: group numbers [n].
            times: unix seconds [n].
        """
        begin = self._starts[groups]
        end = np.searchsorted(self._keys, (groups << _TIME_BITS) | times, side="right")
        everything = np.searchsorted(self._keys, times, side="right")
        empty = end <= begin
        return Run(np.where(empty, 0, begin), np.where(empty, everything, end))

    def draw(self, rng: np.random.Generator, run: Run, count: int) -> IntArray:
        """Draw items in proportion to their weights, with replacement.

        Args:
            rng: source of randomness.
            run: where to draw from, n runs.
            count: draws per run.

        Returns:
            Item numbers [n, count].
        """
        low = self._cumulative[run.begin][:, None]
        high = self._cumulative[run.end][:, None]
        target = low + (high - low) * rng.random((len(run.begin), count))
        position = np.searchsorted(self._cumulative, target, side="right") - 1
        position = np.clip(position, run.begin[:, None], run.end[:, None] - 1)
        return np.asarray(self._items[position], dtype=np.int64)

    def consecutive(self, rng: np.random.Generator, run: Run, count: int) -> IntArray:
        """Take different items from each run: neighbours by release from a random start, around the end.

        Args:
            rng: source of randomness.
            run: where to take from, n runs of at least `count` items.
            count: items per run.

        Returns:
            Item numbers [n, count], all different within a row.
        """
        size = run.end - run.begin
        first = (rng.random(len(size)) * size).astype(np.int64)
        position = run.begin[:, None] + (first[:, None] + np.arange(count)[None, :]) % size[:, None]
        return np.asarray(self._items[position], dtype=np.int64)
