"""The number of probes that reaches a recall, and the recall that is reached."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.candidate_indexer.partitioned import Probing
from crossrec.components.candidate_indexer.partitions import Partitions
from crossrec.components.features.item_table import Array

SPREAD_WEIGHTS = (0.0, 0.25, 0.5, 0.75)
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
    part = np.zeros(int(partitions.members.max(initial=0)) + 1, np.int32)
    held = np.flatnonzero(partitions.members.reshape(-1) >= 0)
    part[partitions.members.reshape(-1)[held]] = held // capacity
    lengths = np.linalg.norm(queries, axis=1, keepdims=True)
    products = queries @ partitions.centres.T
    of = np.unique(users, return_inverse=True)[1]
    choices = []
    for weight in SPREAD_WEIGHTS:
        order = np.argsort(-(products + weight * lengths * partitions.spreads), axis=1, kind="stable")
        places = np.empty_like(order)
        np.put_along_axis(places, order, np.arange(count)[None, :], axis=1)
        needed = np.take_along_axis(places, part[truth], axis=1)
        choices.append(Probing(_fewest(needed, of, count, target), weight))
    return min(choices, key=lambda choice: choice.probes)


def _fewest(needed: Array, of: Array, count: int, target: float) -> int:
    """The fewest probes that are enough.

    ``needed`` ``[Q, k]`` are the places of the partitions that hold each item, ``of`` ``[Q]`` the numbers of the users.
    """
    queries, depth = needed.shape
    users = int(of.max()) + 1
    if users < 2:
        return count
    found = np.bincount((np.arange(queries)[:, None] * count + needed).reshape(-1), minlength=queries * count)
    shares = np.cumsum(found.reshape(queries, count), axis=1) / depth
    sums = np.zeros((users, count))
    np.add.at(sums, of, shares - shares.mean(0))
    error = np.sqrt(users / (users - 1) * (sums**2).sum(0)) / queries
    return int(np.argmax(shares.mean(0) - _QUANTILE * error >= target - 1e-9)) + 1
