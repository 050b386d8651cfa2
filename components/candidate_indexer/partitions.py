"""Partitions of equal capacity: near items lie together, and no partition is larger than any other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossrec.components.features.item_table import Array
from crossrec.components.modeling import k_means
from crossrec.components.threads import in_threads

_CHOICES = 8
# Room that lets items move to the partition that suits them best.
_FILL = 0.93
# Rows whose distances one thread computes at a time.
_ROWS = 16_384


@dataclass(frozen=True)
class Partitions:
    """P partitions of at most C items.

    Attributes:
        members: int32 ``[P, C]`` rows of the items, ascending in each partition; -1 fills up.
        centres: float32 ``[P, D]``, means of the members.
        spreads: float32 ``[P]``, root of the members' mean squared distance from their centre.
    """

    members: Array
    centres: Array
    spreads: Array


def capacity_for(items: int) -> int:
    """Items of a partition, about half the root of the catalogue: a multiple of 64.

    A search reads all centres and some partitions. Larger partitions mean more items that are read in vain, but fewer
    centres, and longer rows for the product, each of which has a cost of its own.
    """
    return int(np.clip(64 * round(items**0.5 / 2 / 64), 64, 1024))


def partition(embeddings: Array, capacity: int, rounds: int = 2, seed: int = 0) -> Partitions:
    """Divides items into partitions.

    A tree halves the items again and again between the two means of each part, which gives parts of equal size; then
    each item goes to the nearest centre that has room, as in k-means with a limit, and centres follow their members.

    Args:
        embeddings: float32 ``[N, D]``, N at least 1.
        capacity: Items of a partition at most.
        rounds: Passes of assigning items and moving centres, after the tree.
        seed: Of the samples that the tree looks at.
    """
    parts = max(1, int(np.ceil(len(embeddings) / (capacity * _FILL))))
    leaves = k_means.halves(embeddings, parts, seed)
    centres = k_means.means(embeddings, leaves, parts)
    for _ in range(rounds if parts > 1 else 0):
        leaves = _assign(embeddings, centres, capacity)
        centres = k_means.means(embeddings, leaves, parts, centres)
    return _collect(embeddings, leaves, centres, capacity)


def reassign(embeddings: Array, leaves: Array, former: Partitions) -> Partitions:
    """Divides items of which most lie in partitions already; where others come, centres follow their members.

    Args:
        embeddings: float32 ``[N, D]``.
        leaves: int32 ``[N]``, the partition of each item; -1 for those that have none yet.
        former: The partitions; no one has more than its capacity, and there is room for all items.
    """
    capacity = former.members.shape[1]
    if (leaves >= 0).all():
        return _collect(embeddings, leaves, former.centres, capacity)
    full = _assign(embeddings, former.centres, capacity, leaves)
    return _collect(embeddings, full, k_means.means(embeddings, full, len(former.centres), former.centres), capacity)


def _assign(embeddings: Array, centres: Array, capacity: int, begun: Array | None = None) -> Array:
    """The nearest centre that has room, int32 ``[N]``: those that are nearer to a centre go first.

    Items that ``begun`` has a centre for, which is not negative there, keep it.
    """
    leaves = np.full(len(embeddings), -1, np.int32) if begun is None else begun.copy()
    free = capacity - np.bincount(leaves[leaves >= 0], minlength=len(centres))
    waiting = np.flatnonzero(leaves < 0)
    nearness, places = k_means.nearest(embeddings, waiting, centres, 1)
    waiting = _settle(waiting, nearness[:, 0], places[:, 0], leaves, free)
    nearness, places = k_means.nearest(embeddings, waiting, centres, min(_CHOICES, len(centres)))
    for choice in range(1, places.shape[1]):
        left = _settle(waiting, nearness[:, choice], places[:, choice], leaves, free)
        kept = np.isin(waiting, left, assume_unique=True)
        waiting, nearness, places = waiting[kept], nearness[kept], places[kept]
    while len(waiting):
        with_room = np.flatnonzero(free)
        nearness, places = k_means.nearest(embeddings, waiting, centres[with_room], 1)
        waiting = _settle(waiting, nearness[:, 0], with_room[places[:, 0]], leaves, free)
    return leaves


def _settle(waiting: Array, nearness: Array, places: Array, leaves: Array, free: Array) -> Array:
    """Gives each place to the nearest of those that want it, as far as there is room; returns who is left.

    Args:
        waiting: Rows, ascending, ``[n]``.
        nearness: float32 ``[n]``, to the places that they want; the lower row is first of equal ones.
        places: int ``[n]``.
        leaves: int32 ``[N]``, filled in for those that get their places.
        free: int64 ``[P]``, room of each place; lowered.

    Returns:
        The rows that are left, ascending.
    """
    taken = np.ones(len(waiting), np.bool_)
    wanting = np.bincount(places, minlength=len(free))
    # Only where not all have room it matters who is nearer.
    rivals = np.flatnonzero((wanting > free)[places])
    order = rivals[np.lexsort((-nearness[rivals], places[rivals]))]
    wanted = places[order]
    starts = np.searchsorted(wanted, np.arange(len(free)))
    taken[order] = np.arange(len(order)) - starts[wanted] < free[wanted]
    leaves[waiting[taken]] = places[taken]
    free -= np.bincount(places[taken], minlength=len(free))
    return np.asarray(waiting[~taken])


def _collect(embeddings: Array, leaves: Array, centres: Array, capacity: int) -> Partitions:
    order = k_means.by_part(leaves, len(centres))
    counts = np.bincount(leaves, minlength=len(centres))
    columns = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    members = np.full((len(centres), capacity), -1, np.int32)
    members[leaves[order], columns] = order

    def distances(start: int) -> Array:
        rows = slice(start, start + _ROWS)
        return np.asarray(((embeddings[rows] - centres[leaves[rows]]) ** 2).sum(1))

    squares = np.concatenate(in_threads(distances, range(0, len(embeddings), _ROWS)))
    spreads = np.sqrt(np.bincount(leaves, squares, len(centres)) / np.maximum(counts, 1)).astype(np.float32)
    return Partitions(members, centres, spreads)
