"""The number of probes that reaches a recall, and the recall that is reached."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.candidate_indexer.partitions import Partitions
from crossrec.components.candidate_indexer.probing import Probing
from crossrec.components.features.item_table import Array

SPREAD_WEIGHTS = (0.0, 0.25, 0.5, 0.75)
RANKS = (1, 4, 16, 32, 64)
# Recalls, of which one margin each is looked at.
_STEPS = np.linspace(0, 1, 1001)
# Normal quantile of 99 %, for the difference of two halves that are as uncertain as each other.
_QUANTILE = 2.326 * np.sqrt(2.0)
_BATCH = 32


def nearest(index: Any, queries: Array, k: int) -> Array:
    """Rows of the k best items of queries ``[Q, D]``, int64 ``[Q, k]``, by an exact or partitioned index."""
    step = tf.function(
        lambda batch: index.search(batch, tf.zeros([tf.shape(batch)[0], 0], tf.int64), k)[1],
        autograph=False,
        reduce_retracing=True,
    )
    found = [step(tf.constant(queries[start : start + _BATCH])) for start in range(0, len(queries), _BATCH)]
    return np.concatenate([rows.numpy() for rows in found])


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
    sums = np.zeros((users, count))
    np.add.at(sums, of, shares - shares.mean(0))
    error = np.sqrt(users / (users - 1) * (sums**2).sum(0)) / queries
    return int(np.argmax(shares.mean(0) - _QUANTILE * error >= target - 1e-9))
