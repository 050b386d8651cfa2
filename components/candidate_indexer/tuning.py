"""The number of probes that reaches a recall, and the recall that is reached."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.candidate_indexer.partitions import Partitions
from crossrec.components.candidate_indexer.probing import Probing
from crossrec.components.features.item_table import Array
from crossrec.components.threads import in_threads

SPREAD_WEIGHTS = (0.0, 0.25, 0.5, 0.75)
RANKS = (1, 4, 16, 32, 64)
# Recalls, of which one margin each is looked at.
_STEPS = np.linspace(0, 1, 1001)
# Normal quantile of 99 %, for the difference of two halves that are as uncertain as each other.
_QUANTILE = 2.326 * np.sqrt(2.0)
_BATCH = 32
# Of so many items only the highest score competes at first.
_GROUP = 16
# Scores of so many queries and items stay in the processor's cache until that is known.
_QUERIES, _ITEMS = 128, 16_384
# The highest scores that one thread keeps; of many items those of fewer queries.
_HIGHEST_SCORES = 2**23


def nearest(index: Any, queries: Array, k: int) -> Array:
    """Rows of the k best items of queries ``[Q, D]``, int64 ``[Q, k]``, by an exact or partitioned index."""
    step = tf.function(
        lambda batch: index.search(batch, tf.zeros([tf.shape(batch)[0], 0], tf.int64), k)[1],
        autograph=False,
        reduce_retracing=True,
    )
    found = [step(tf.constant(queries[start : start + _BATCH])) for start in range(0, len(queries), _BATCH)]
    return np.concatenate([rows.numpy() for rows in found])


def best_items(embeddings: Array, present: Array, queries: Array, k: int) -> Array:
    """Rows of the k best items of queries by all scores, the lower one first of equal ones; int64 ``[Q, k]``.

    What ``nearest`` gives of an exact index, in less than half the time.

    Args:
        embeddings: float32 ``[N + 1, D]``; the last row is the unknown item.
        present: The rows that may be found, int64, ascending, k at least.
        queries: float32 ``[Q, D]``.
        k: Items wanted.
    """
    groups = -(-len(present) // _GROUP)
    # The last item fills up the last group, and does not count again.
    rows = np.pad(present, (0, groups * _GROUP - len(present)), mode="edge")
    starts = range(0, len(rows), _ITEMS)
    together = max(1, min(_QUERIES, _HIGHEST_SCORES // groups))
    blocks = [tf.constant(embeddings[rows[start : start + _ITEMS]]) for start in starts]

    def of(start: int) -> Array:
        batch = queries[start : start + together]
        highest = tf.concat([_HIGHEST(tf.constant(batch), block) for block in blocks], 1)
        # The k best items lie in the k groups of the highest scores, equal ones in the lower of them.
        chosen = np.sort(tf.math.top_k(highest, min(k, groups), sorted=False).indices.numpy(), axis=1)
        places = (chosen[:, :, None] * _GROUP + np.arange(_GROUP)).reshape(len(batch), -1)
        # One query at a time: the vectors of all at once would not fit into memory where many items are wanted.
        scores = np.stack([np.einsum("cd,d->c", embeddings[rows[own]], query) for own, query in zip(places, batch)])
        scores[places >= len(present)] = -np.inf
        return np.asarray(np.take_along_axis(places, tf.math.top_k(scores, k).indices.numpy(), axis=1))

    return np.asarray(rows[np.concatenate(in_threads(of, range(0, len(queries), together)))])


def _highest(queries: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """The highest score of each group of items, float32 ``[B, n / group]``."""
    scores = tf.matmul(queries, items, transpose_b=True)
    return tf.reduce_max(tf.reshape(scores, [tf.shape(queries)[0], -1, _GROUP]), 2)


_HIGHEST = tf.function(_highest, autograph=False, reduce_retracing=True)


def recall(found: Array, truth: Array) -> float:
    """Mean share of the rows of ``truth`` ``[Q, k]`` that are among those found ``[Q, k]``."""
    return float(np.mean([np.isin(wanted, given).mean() for given, wanted in zip(found, truth)]))


def choose_probing(partitions: Partitions, queries: Array, users: Array, truth: Array, target: float) -> Probing:
    """The fewest probes whose recall on as many queries of other users is at least the target, with 99 % confidence.

    A user's queries are alike, and so are their recalls: the standard error is that of sums by user (Liang and Zeger
    1986, "Longitudinal data analysis using generalized linear models"). Treated as independent, a thousand queries of
    a few users would promise what other users do not get.

    Args:
        partitions: Where the items lie.
        queries: float32 ``[Q, D]``.
        users: ``[Q]``, whose queries they are.
        truth: int64 ``[Q, k]`` rows of their best items by exact search.
        target: The recall.
    """
    count, capacity = partitions.members.shape
    of = np.unique(users, return_inverse=True)[1]
    if of.max() == 0:
        return Probing.fixed(count, SPREAD_WEIGHTS[0])
    part = np.zeros(int(partitions.members.max(initial=0)) + 1, np.int32)
    held = np.flatnonzero(partitions.members.reshape(-1) >= 0)
    part[partitions.members.reshape(-1)[held]] = held // capacity
    lengths = np.linalg.norm(queries, axis=1, keepdims=True)
    products = queries @ partitions.centres.T
    choices = []
    for weight in SPREAD_WEIGHTS:
        nearness = products + weight * lengths * partitions.spreads
        ordered = -np.sort(-nearness, axis=1)
        for rank in sorted({min(rank, count) for rank in RANKS}):
            # By how much of a query's length a partition is worse than the one of that rank.
            worse = (ordered[:, rank - 1 : rank] - nearness) / np.maximum(lengths, np.finfo(np.float32).tiny)
            needed = np.maximum(np.take_along_axis(worse, part[truth], axis=1), 0)
            margins = np.unique(np.quantile(needed, _STEPS, method="higher"))
            margin = float(margins[_fewest(np.searchsorted(margins, needed), of, len(margins), target)])
            mean = float((worse <= margin).mean()) * count
            choices.append(Probing(mean, weight, rank, margin))
    return min(choices, key=lambda choice: choice.probes)


def _fewest(needed: Array, of: Array, count: int, target: float) -> int:
    """The first of ``count`` steps that is enough.

    ``needed`` ``[Q, k]`` are the steps that find each item, ``of`` ``[Q]`` the numbers of the users, two at least.
    """
    queries, depth = needed.shape
    users = int(of.max()) + 1
    found = np.bincount((np.arange(queries)[:, None] * count + needed).reshape(-1), minlength=queries * count)
    shares = np.cumsum(found.reshape(queries, count), axis=1) / depth
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.arange(users))
    sums = np.add.reduceat((shares - shares.mean(0))[order], starts, axis=0)
    error = np.sqrt(users / (users - 1) * (sums**2).sum(0)) / queries
    return int(np.argmax(shares.mean(0) - _QUANTILE * error >= target - 1e-9))
