"""K-means on vectors: parts of equal size to begin with, nearest centres, means.

All of it runs on all cores, and gives the same numbers however many these are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossrec.components.features.item_table import Array
from crossrec.components.threads import in_threads

_SAMPLE = 4096
_ROUNDS = 4
_ROWS = 1024
# Parts whose means one thread computes at a time.
_PARTS = 128


def spherical_k_means(vectors: Array, clusters: int, rounds: int = 20, seed: int = 0) -> Array:
    """Directions around which vectors of length 1 lie (Dhillon and Modha 2001, "Concept decompositions").

    Begins with parts of equal size; then each vector goes to the centre of the highest cosine, and each centre to the
    direction of its vectors' sum, until nothing moves.

    Args:
        vectors: float32 ``[N, D]``, each of length 1.
        clusters: K, how many centres; N if there are fewer vectors.
        rounds: Most passes.
        seed: Of the samples that the first parts are found by.

    Returns:
        float32 ``[min(K, N), D]``, each of length 1.
    """
    clusters = min(clusters, len(vectors))
    leaves = halves(vectors, clusters, seed)
    centres = _unit(means(vectors, leaves, clusters))
    rows = np.arange(len(vectors))
    for _ in range(rounds):
        # The centres are all of one length, so that the nearest one has the highest cosine.
        _, places = nearest(vectors, rows, centres, 1)
        if np.array_equal(places[:, 0], leaves):
            break
        leaves = places[:, 0]
        centres = _unit(means(vectors, leaves, clusters, centres))
    return centres


def _unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def halves(vectors: Array, parts: int, seed: int) -> Array:
    """Parts of equal size whose members lie together: halves of halves, between the two means of each.

    Args:
        vectors: float32 ``[N, D]``.
        parts: How many, at most N.
        seed: Of the samples that the halving looks at.

    Returns:
        The part of each vector, int32 ``[N]``.
    """
    leaves = np.empty(len(vectors), np.int32)
    level = [_Part(np.arange(len(vectors)), 0, parts)]
    while level:
        for part in level:
            if part.last - part.first == 1:
                leaves[part.rows] = part.first
        halved = in_threads(
            lambda part: _halve(vectors, part, seed), [part for part in level if part.last - part.first > 1]
        )
        level = [half for both in halved for half in both]
    return leaves


@dataclass(frozen=True)
class _Part:
    """Rows, ascending, and the numbers of the leaves that they are to be divided into."""

    rows: Array
    first: int
    last: int


def _halve(vectors: Array, part: _Part, seed: int) -> tuple[_Part, _Part]:
    """Divides a part between the means of its halves, which are looked for in a sample."""
    rows, first, last = part.rows, part.first, part.last
    own = vectors if len(rows) == len(vectors) else vectors[rows]
    sample = own
    if len(rows) > _SAMPLE:
        # A generator of its own: which part comes first depends on the threads.
        rng = np.random.default_rng([seed, first, last])
        sample = own[np.sort(rng.choice(len(rows), _SAMPLE, replace=False))]
    middle = first + (last - first) // 2
    share = (middle - first) / (last - first)
    place = int(share * (len(sample) - 1))
    total = sample.sum(0)
    direction = sample[0] - sample[-1]
    for _ in range(_ROUNDS):
        places = _along(sample, direction)
        low = places <= np.partition(places, place)[place]
        count = int(low.sum())
        if count in (0, len(sample)):
            break
        # Not a product of matrix and vector, whose sums depend on the threads of the library that computes it. Those of
        # two matrices, as in `nearest`, do not.
        below = np.einsum("n,nd->d", low.astype(np.float32), sample)
        direction = (total - below) / np.float32(len(sample) - count) - below / np.float32(count)
    low = _lowest(_along(own, direction), int(round(share * len(rows))))
    return _Part(rows[low], first, middle), _Part(rows[~low], middle, last)


def _along(vectors: Array, direction: Array) -> Array:
    """Products of vectors ``[n, D]`` with one, float32 ``[n]``."""
    return np.asarray(np.einsum("nd,d->n", vectors, direction))


def _lowest(values: Array, count: int) -> Array:
    """Which are the ``count`` lowest of ``[n]``, bool; the first of equal ones, so that these stay together."""
    cut = np.partition(values, count - 1)[count - 1]
    low = values < cut
    low[np.flatnonzero(values == cut)[: count - int(low.sum())]] = True
    return np.asarray(low)


def means(vectors: Array, leaves: Array, parts: int, before: Array | None = None) -> Array:
    """Centres of the parts.

    Args:
        vectors: float32 ``[N, D]``.
        leaves: The part of each, int ``[N]``.
        parts: P, how many there are.
        before: float32 ``[P, D]``; a part without vectors keeps the centre it had, or stands at 0.

    Returns:
        float32 ``[P, D]``.
    """
    order = by_part(leaves, parts)
    ends = np.concatenate([[0], np.cumsum(np.bincount(leaves, minlength=parts))])
    out = np.zeros((parts, vectors.shape[1]), np.float32) if before is None else before.copy()

    def fill(first: int) -> None:
        bounds = ends[first : first + _PARTS + 1]
        counts = np.diff(bounds)
        full = np.flatnonzero(counts)
        if len(full):
            sums = np.add.reduceat(vectors[order[bounds[0] : bounds[-1]]], bounds[full] - bounds[0], axis=0)
            out[first + full] = sums / counts[full, None]

    in_threads(fill, range(0, parts, _PARTS))
    return out


def by_part(leaves: Array, parts: int) -> Array:
    """The rows ordered by their part, int ``[N]`` below ``parts``, and within it as they come: int64 ``[N]``."""
    # Numbers of 16 bits are sorted by their digits, which takes a tenth of the time.
    small = leaves.astype(np.uint16) if parts <= 2**16 else leaves
    return np.argsort(small, kind="stable")


def nearest(vectors: Array, rows: Array, centres: Array, count: int) -> tuple[Array, Array]:
    """The nearest centres of some vectors by Euclidean distance.

    Args:
        vectors: float32 ``[N, D]``.
        rows: Which of them, int ``[n]``.
        centres: float32 ``[P, D]``.
        count: How many of the nearest, a few.

    Returns:
        ``x c - c c / 2``, float32 ``[n, count]``, highest first, and the centres, int32 ``[n, count]``; the lower one
        is first of equally near ones.
    """
    table = np.concatenate([centres, -(centres**2).sum(1, keepdims=True) / 2], 1).T

    def of(start: int) -> tuple[Array, Array]:
        own = vectors[rows[start : start + _ROWS]]
        nearness = np.pad(own, [(0, 0), (0, 1)], constant_values=1) @ table
        near, places = np.empty([len(own), count], np.float32), np.empty([len(own), count], np.int32)
        # The highest again and again: for so few it takes a fraction of the time of a sort.
        for column in range(count):
            highest = nearness.argmax(1)[:, None]
            near[:, column : column + 1] = np.take_along_axis(nearness, highest, 1)
            places[:, column : column + 1] = highest
            np.put_along_axis(nearness, highest, -np.inf, 1)
        return near, places

    found = in_threads(of, range(0, max(len(rows), 1), _ROWS))
    return np.concatenate([near for near, _ in found]), np.concatenate([place for _, place in found])
