"""K-means on vectors: parts of equal size to begin with, nearest centres, means."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from crossrec.components.features.item_table import Array

_SAMPLE = 4096
_ROUNDS = 4
_ROWS = 4096


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
        _, places = nearest(vectors, rows, tf.constant(centres), tf.constant((centres**2).sum(1) / 2), 1)
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
    _halve(vectors, np.arange(len(vectors)), (0, parts), leaves, np.random.default_rng(seed))
    return leaves


def _halve(vectors: Array, rows: Array, span: tuple[int, int], leaves: Array, rng: np.random.Generator) -> None:
    """Numbers the leaves of a part; ``span`` says which numbers are its own."""
    first, last = span
    if last - first == 1:
        leaves[rows] = first
        return
    sample = vectors[rows if len(rows) <= _SAMPLE else np.sort(rng.choice(rows, _SAMPLE, replace=False))]
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
    # Equal vectors keep their order, so that they stay together where they can.
    order = np.argsort(vectors[rows] @ direction, kind="stable")
    count = int(round(share * len(rows)))
    _halve(vectors, np.sort(rows[order[:count]]), (first, middle), leaves, rng)
    _halve(vectors, np.sort(rows[order[count:]]), (middle, last), leaves, rng)


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
    order = np.argsort(leaves, kind="stable")
    counts = np.bincount(leaves, minlength=parts)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    full = counts > 0
    out = np.zeros((parts, vectors.shape[1]), np.float32) if before is None else before.copy()
    out[full] = np.add.reduceat(vectors[order], starts[full], axis=0) / counts[full, None]
    return out


def nearest(vectors: Array, rows: Array, centres: tf.Tensor, offsets: tf.Tensor, count: int) -> tuple[Array, Array]:
    """The nearest centres of some vectors by Euclidean distance.

    Args:
        vectors: float32 ``[N, D]``.
        rows: Which of them, int ``[n]``.
        centres: float32 ``[P, D]``.
        offsets: Half of each centre's squared length, float32 ``[P]``.
        count: How many of the nearest.

    Returns:
        ``x c - c c / 2``, float32 ``[n, count]``, highest first, and the centres, int32 ``[n, count]``.
    """
    found = [
        _NEAREST(tf.constant(vectors[rows[start : start + _ROWS]]), centres, offsets, count)
        for start in range(0, max(len(rows), 1), _ROWS)
    ]
    return np.concatenate([near.numpy() for near, _ in found]), np.concatenate([place.numpy() for _, place in found])


def _nearest(rows: tf.Tensor, centres: tf.Tensor, offsets: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    nearness = tf.matmul(rows, centres, transpose_b=True) - offsets
    if count == 1:
        place = tf.argmax(nearness, 1, output_type=tf.int32)[:, None]
        return tf.gather(nearness, place, batch_dims=1), place
    best = tf.math.top_k(nearness, count)
    return best.values, best.indices


_NEAREST = tf.function(_nearest, autograph=False, reduce_retracing=True)
