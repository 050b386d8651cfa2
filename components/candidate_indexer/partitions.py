"""Partitions of equal capacity: near items lie together, and no partition is larger than any other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from crossrec.components.features.item_table import Array

_SAMPLE = 4096
_ROUNDS = 4
_CHOICES = 8
_ROWS = 4096
# Room that lets items move to the partition that suits them best.
_FILL = 0.93


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
    rng = np.random.default_rng(seed)
    leaves = np.empty(len(embeddings), np.int32)
    _halve(embeddings, np.arange(len(embeddings)), (0, parts), leaves, rng)
    centres = _means(embeddings, leaves, parts)
    for _ in range(rounds if parts > 1 else 0):
        leaves = _assign(embeddings, centres, capacity)
        centres = _means(embeddings, leaves, parts, centres)
    return _collect(embeddings, leaves, centres, capacity)


def _halve(embeddings: Array, rows: Array, span: tuple[int, int], leaves: Array, rng: np.random.Generator) -> None:
    """Numbers the leaves of a part; ``span`` says which numbers are its own."""
    first, last = span
    if last - first == 1:
        leaves[rows] = first
        return
    sample = embeddings[rows if len(rows) <= _SAMPLE else np.sort(rng.choice(rows, _SAMPLE, replace=False))]
    middle = first + (last - first) // 2
    share = (middle - first) / (last - first)
    direction = np.asarray(sample[0] - sample[-1], np.float32)
    for _ in range(_ROUNDS):
        places = sample @ direction
        cut = np.partition(places, int(share * (len(sample) - 1)))[int(share * (len(sample) - 1))]
        low = places <= cut
        if low.all() or not low.any():
            break
        direction = np.asarray(sample[~low].mean(0) - sample[low].mean(0), np.float32)
    # Equal items keep their order, so that they stay together where they can.
    order = np.argsort(embeddings[rows] @ direction, kind="stable")
    count = int(round(share * len(rows)))
    _halve(embeddings, np.sort(rows[order[:count]]), (first, middle), leaves, rng)
    _halve(embeddings, np.sort(rows[order[count:]]), (middle, last), leaves, rng)


def _means(embeddings: Array, leaves: Array, parts: int, before: Array | None = None) -> Array:
    """Centres of the parts, float32 ``[P, D]``; a part without items keeps the centre it had."""
    order = np.argsort(leaves, kind="stable")
    counts = np.bincount(leaves, minlength=parts)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    full = counts > 0
    out = np.zeros((parts, embeddings.shape[1]), np.float32) if before is None else before.copy()
    out[full] = np.add.reduceat(embeddings[order], starts[full], axis=0) / counts[full, None]
    return out


def _nearest(rows: tf.Tensor, centres: tf.Tensor, offsets: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The nearest centres by Euclidean distance: ``x c - c c / 2`` and places, ``[n, count]``."""
    nearness = tf.matmul(rows, centres, transpose_b=True) - offsets
    if count == 1:
        place = tf.argmax(nearness, 1, output_type=tf.int32)[:, None]
        return tf.gather(nearness, place, batch_dims=1), place
    best = tf.math.top_k(nearness, count)
    return best.values, best.indices


_NEAREST = tf.function(_nearest, autograph=False, reduce_retracing=True)


def _assign(embeddings: Array, centres: Array, capacity: int) -> Array:
    """The nearest centre that has room, int32 ``[N]``: those that are nearer to a centre go first."""
    table, offsets = tf.constant(centres), tf.constant((centres**2).sum(1) / 2)
    leaves = np.full(len(embeddings), -1, np.int32)
    free = np.full(len(centres), capacity, np.int64)
    waiting = np.arange(len(embeddings))
    nearness, places = _choices(embeddings, waiting, table, offsets, 1)
    waiting = _settle(waiting, nearness[:, 0], places[:, 0], leaves, free)
    nearness, places = _choices(embeddings, waiting, table, offsets, min(_CHOICES, len(centres)))
    for choice in range(1, places.shape[1]):
        left = _settle(waiting, nearness[:, choice], places[:, choice], leaves, free)
        kept = np.isin(waiting, left, assume_unique=True)
        waiting, nearness, places = waiting[kept], nearness[kept], places[kept]
    while len(waiting):
        with_room = np.flatnonzero(free)
        nearness, places = _choices(embeddings, waiting, tf.gather(table, with_room), tf.gather(offsets, with_room), 1)
        waiting = _settle(waiting, nearness[:, 0], with_room[places[:, 0]], leaves, free)
    return leaves


def _choices(embeddings: Array, rows: Array, centres: tf.Tensor, offsets: tf.Tensor, count: int) -> tuple[Array, Array]:
    found = [
        _NEAREST(tf.constant(embeddings[rows[start : start + _ROWS]]), centres, offsets, count)
        for start in range(0, max(len(rows), 1), _ROWS)
    ]
    return np.concatenate([near.numpy() for near, _ in found]), np.concatenate([place.numpy() for _, place in found])


def _settle(waiting: Array, nearness: Array, places: Array, leaves: Array, free: Array) -> Array:
    """Gives each place to the nearest of those that want it, as far as there is room; returns who is left."""
    order = np.lexsort((waiting, -nearness, places))
    wanted = places[order]
    starts = np.searchsorted(wanted, np.arange(len(free)))
    taken = np.arange(len(order)) - starts[wanted] < free[wanted]
    chosen = order[taken]
    leaves[waiting[chosen]] = places[chosen]
    free -= np.bincount(places[chosen], minlength=len(free))
    return np.asarray(waiting[np.sort(order[~taken])])


def _collect(embeddings: Array, leaves: Array, centres: Array, capacity: int) -> Partitions:
    order = np.argsort(leaves, kind="stable")
    counts = np.bincount(leaves, minlength=len(centres))
    columns = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    members = np.full((len(centres), capacity), -1, np.int32)
    members[leaves[order], columns] = order
    squares = np.bincount(leaves, ((embeddings - centres[leaves]) ** 2).sum(1), len(centres))
    spreads = np.sqrt(squares / np.maximum(counts, 1)).astype(np.float32)
    return Partitions(members, centres, spreads)
