"""Which partitions a query looks at."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Probing:
    """How many partitions a query looks at: those that are as good as its ``rank``-th best, or nearly so.

    The score of a partition of centre ``c`` and spread ``s`` is ``q c + spread_weight |q| s``. A query looks at those
    whose score is at least that of the ``rank``-th best one less ``margin |q|``: at few where the best stand out, at
    many where a crowd is as good. A margin of 0 means ``rank`` partitions for every query.

    Attributes:
        probes: Partitions that a query looks at in the mean.
        spread_weight: Weight of a partition's spread beside the score of its centre.
        rank: At least so many are looked at.
        margin: How much worse than those the others may be.
    """

    probes: float
    spread_weight: float
    rank: int
    margin: float

    @classmethod
    def fixed(cls, probes: int, spread_weight: float) -> Probing:
        """The same number for every query."""
        return cls(probes, spread_weight, probes, 0.0)


def limits(nearness: tf.Tensor, lengths: tf.Tensor, probing: Probing, least: int) -> tf.Tensor:
    """The least score of a partition that each query looks at.

    Args:
        nearness: float32 ``[B, P]``, scores of the partitions.
        lengths: float32 ``[B, 1]``, of the queries.
        probing: Which to look at.
        least: Partitions that every query looks at, at least.

    Returns:
        float32 ``[B, 1]``.
    """
    rank = min(max(probing.rank, least), nearness.shape[1])
    return tf.math.top_k(nearness, rank).values[:, -1:] - probing.margin * lengths


def moved(
    nearness: tf.Tensor, lowest: tf.Tensor, least: int, probes: tf.Tensor | None, shares: tf.Tensor | None
) -> tf.Tensor:
    """The limits of requests that say how many partitions to look at, or of whose items few pass a filter.

    Args:
        nearness: float32 ``[B, P]``, scores of the partitions.
        lowest: float32 ``[B, 1]``, what ``limits`` gave.
        least: Partitions that every query looks at, at least.
        probes: int64 ``[B]``, partitions to look at; 0 and less is what ``lowest`` says. None: so for all.
        shares: float32 ``[B]``, above 0, part of the items that pass. So many times more partitions are looked at.

    Returns:
        float32 ``[B, 1]``.
    """
    count = nearness.shape[1]

    def counted() -> tf.Tensor:
        wanted = tf.math.count_nonzero(nearness >= lowest, 1, dtype=tf.int32)
        if probes is not None:
            given = tf.cast(tf.clip_by_value(probes, 0, count), tf.int32)
            wanted = tf.where(given > 0, tf.maximum(given, least), wanted)
        if shares is not None:
            scaled = tf.math.ceil(tf.cast(wanted, tf.float32) / shares)
            wanted = tf.cast(tf.minimum(scaled, float(count)), tf.int32)
        wanted = tf.maximum(wanted, 1)
        ordered = tf.math.top_k(nearness, tf.reduce_max(wanted)).values
        # A query that is not a number, or too long for one, looks at none.
        return tf.where(tf.math.is_nan(lowest), lowest, tf.gather(ordered, wanted[:, None] - 1, batch_dims=1))

    asked = tf.constant(False)
    if probes is not None:
        asked |= tf.reduce_any(probes > 0)
    if shares is not None:
        asked |= tf.reduce_any(shares < 1)
    out: tf.Tensor = tf.cond(asked, counted, lambda: lowest)
    return out
