r"""Losses of whole lists, for grades: what counts is the order of a list's rows, not the level of their scores.

The rows of a list have scores :math:`s_i`, gains :math:`G_i` (of grade g :math:`2^g - 1`, or g), weights :math:`w_i`.

- ``softmax``: the cross-entropy between the softmax of the scores and the share of each row in the list's gains

  .. math:: - \sum_i \frac{w_i G_i}{\sum_j w_j G_j} \log \frac{e^{s_i}}{\sum_j w_j e^{s_j}}

  (ListNet's top-one loss, Cao et al. 2007, "Learning to Rank: From Pairwise Approach to Listwise Approach"; with gains
  in place of a second softmax it bounds NDCG for binary grades, Bruch et al. 2019, "An Analysis of the Softmax Cross
  Entropy Loss for Learning-to-Rank with Binary Relevance").
- ``lambda``: the logistic loss of each pair whose gains differ, by what a swap of both would change of the list's NDCG

  .. math:: \sum_{G_i > G_j} w_i w_j \frac{G_i - G_j}{IDCG} \left| \frac{1}{D_i} - \frac{1}{D_j} \right|
            \log_2 (1 + e^{s_j - s_i})

  where :math:`D_i = \log_2(1 + rank_i)` in the order of the scores and IDCG is the best DCG of the list (LambdaRank,
  Burges 2010, "From RankNet to LambdaRank to LambdaMART"; as a loss Wang et al. 2018, "The LambdaLoss Framework for
  Ranking Metric Optimization").

A list whose gains are all zero, or for ``lambda`` all equal, has no order to learn: its loss is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import tensorflow as tf

_LOG_2 = float(np.log(2.0))


def gains_of(grades: tf.Tensor, gain: Literal["exponential", "linear"]) -> tf.Tensor:
    """What grades ``[...]`` are worth: 2^g - 1, or g."""
    return tf.pow(2.0, grades) - 1.0 if gain == "exponential" else grades


def by_list(lists: tf.Tensor, values: Sequence[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Rows as lists of one length, padded with zeros.

    Args:
        lists: int64 ``[n]``, the list of each row; the rows of a list need not be neighbours.
        values: ``[n]`` each.

    Returns:
        Which places ``[L, longest]`` hold a row, and the values in the same shape.
    """
    _, numbers, sizes = tf.unique_with_counts(lists, tf.int64)
    # The place of a row in its list: its place among rows ordered by list, less where its list begins.
    order = tf.argsort(numbers, stable=True)
    starts = tf.cumsum(sizes, exclusive=True)
    ordered = tf.gather(numbers, order)
    places = tf.range(tf.size(numbers, tf.int64)) - tf.gather(starts, ordered)
    shape = tf.stack([tf.size(sizes, tf.int64), tf.reduce_max(tf.concat([sizes, [0]], 0))])
    where = tf.stack([ordered, places], 1)
    padded = [tf.scatter_nd(where, tf.gather(value, order), shape) for value in values]
    return tf.scatter_nd(where, tf.ones_like(places), shape) > 0, padded


def softmax_loss(mask: tf.Tensor, scores: tf.Tensor, gains: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The loss ``softmax`` of each list.

    Args:
        mask: bool ``[L, n]``, which places hold a row.
        scores: float32 ``[L, n]``.
        gains: float32 ``[L, n]``, from 0.
        weights: float32 ``[L, n]``, of the rows.

    Returns:
        float32 ``[L]``.
    """
    there = mask & (weights > 0.0)
    # Minus infinity would give no number as its gradient.
    lowest = tf.constant(-1e9, scores.dtype)
    odds = tf.where(there, scores + tf.math.log(tf.where(there, weights, 1.0)), lowest)
    log_shares = tf.where(there, scores, 0.0) - tf.reduce_logsumexp(odds, 1, keepdims=True)
    weighted = tf.where(there, weights * gains, 0.0)
    targets = tf.math.divide_no_nan(weighted, tf.reduce_sum(weighted, 1, keepdims=True))
    return -tf.reduce_sum(targets * log_shares, 1)


def lambda_loss(mask: tf.Tensor, scores: tf.Tensor, gains: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The loss ``lambda`` of each list; arguments and result as in ``softmax_loss``."""
    discounts = tf.cast(_discounts(tf.shape(mask)[1]), scores.dtype)
    kept = tf.where(mask, gains, 0.0)
    ideal = tf.reduce_sum(tf.sort(kept, 1, "DESCENDING") * discounts, 1)
    # The rank of each row: the inverse of the order. Both are piecewise constant, so nothing flows through them.
    order = tf.argsort(tf.where(mask, scores, scores.dtype.min), 1, "DESCENDING", stable=True)
    own = tf.gather(discounts, tf.argsort(order, 1, stable=True))
    weights = tf.where(mask, weights, 0.0)
    better = tf.nn.relu(kept[:, :, None] - kept[:, None, :])
    pairs = better * tf.abs(own[:, :, None] - own[:, None, :]) * weights[:, :, None] * weights[:, None, :]
    losses = tf.nn.softplus(scores[:, None, :] - scores[:, :, None]) / _LOG_2
    return tf.math.divide_no_nan(tf.reduce_sum(pairs * losses, [1, 2]), ideal)


def _discounts(length: tf.Tensor) -> tf.Tensor:
    """1 / log2(1 + rank) of ranks from 1, ``[length]``."""
    return _LOG_2 / tf.math.log(tf.cast(tf.range(length), tf.float32) + 2.0)


LOSSES = {"softmax": softmax_loss, "lambda": lambda_loss}
"""By the name of the spec."""
