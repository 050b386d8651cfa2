"""Losses of the two towers: softmax and the cosine contrastive loss, over the catalogue and over candidates."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf
from pydantic import Field

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.replicas import sum_over_replicas

MASKED = -1e9
"""The score of an item that has no chance."""


class CosineContrastiveConfig(Frozen):
    r"""The cosine contrastive loss in place of the softmax.

    With cosine s⁺ of the positive, :math:`(1 - s^+) + w\,\mathrm{mean}_j \max(0, s_j - m)` over the negatives j. Mao,
    Zhu, Wang, Dai, Dong, Xiao, He: "SimpleX: A Simple and Strong Baseline for Collaborative Filtering", CIKM 2021.

    Attributes:
        margin: m, the cosine below which a negative is left alone.
        negative_weight: w, what the mean over the negatives counts.
    """

    margin: float = Field(default=0.5, ge=-1, lt=1)
    negative_weight: float = Field(default=100.0, gt=0, le=1e6)


@dataclass(frozen=True)
class Comparison:
    """Scores of positives and of what they are compared with.

    Attributes:
        own: Of the positives, float32 ``[P]``.
        others: Of candidates, float32 ``[P, C]``.
        masked: bool ``[P, C]``, candidates that do not count for a row.
        counts: How often each candidate is expected, float32 ``[C]``; None leaves scores as they are.
        own_counts: Likewise of the positives ``[P]``, where the batch is all that is compared; None leaves them as they
            are, because they are compared for certain.
        items: Items of the catalogue.
    """

    own: tf.Tensor
    others: tf.Tensor
    masked: tf.Tensor
    counts: tf.Tensor | None
    own_counts: tf.Tensor | None
    items: int


def without(scores: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Scores ``[B, N]`` in which the items of rows ``[B, W]`` have no chance; negative rows are padding."""
    items = tf.shape(scores)[1]
    batch = tf.broadcast_to(tf.range(tf.shape(rows)[0])[:, None], tf.shape(rows))
    # A column beside the others takes the padding.
    columns = tf.where(rows < 0, items, tf.cast(rows, tf.int32))
    places = tf.stack([tf.reshape(batch, [-1]), tf.reshape(columns, [-1])], 1)
    masked = tf.fill([tf.shape(places)[0]], tf.constant(MASKED, scores.dtype))
    return tf.tensor_scatter_nd_update(tf.pad(scores, [[0, 0], [0, 1]]), places, masked)[:, :items]


def catalogue_loss(scores: tf.Tensor, targets: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    r"""Part of this device in the mean of :math:`-\log softmax(scores)` at the targets.

    Args:
        scores: float32 ``[B, N]``.
        targets: Item rows int64 ``[B, T]``; negative is padding.
        smoothing: Share of each target's probability that is spread evenly over the items that have a chance (label
            smoothing: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016).
    """
    normaliser = tf.reduce_logsumexp(scores, 1, keepdims=True)
    own = tf.gather(scores, tf.maximum(targets, 0), batch_dims=1)
    if smoothing:
        possible = tf.cast(scores > MASKED / 2, scores.dtype)
        everywhere = tf.reduce_sum(scores * possible, 1, keepdims=True) / tf.reduce_sum(possible, 1, keepdims=True)
        own = (1.0 - smoothing) * own + smoothing * everywhere
    counted = tf.cast(targets >= 0, scores.dtype)
    return _mean((normaliser - own) * counted, tf.reduce_sum(counted))


def contrastive_catalogue_loss(scores: tf.Tensor, targets: tf.Tensor, config: CosineContrastiveConfig) -> tf.Tensor:
    """Part of this device in the mean cosine contrastive loss, all items but a request's targets its negatives.

    Args:
        scores: Cosines float32 ``[B, N]``.
        targets: Item rows int64 ``[B, T]``; negative is padding.
        config: Margin and weight.
    """
    counted = tf.cast(targets >= 0, scores.dtype)
    own = tf.gather(scores, tf.maximum(targets, 0), batch_dims=1)
    others = without(scores, targets)
    negatives = tf.reduce_sum(tf.cast(others > MASKED / 2, scores.dtype), 1)
    pushed = tf.reduce_sum(tf.nn.relu(others - config.margin), 1) / tf.maximum(negatives, 1.0)
    losses = (1.0 - own + config.negative_weight * pushed[:, None]) * counted
    return _mean(losses, tf.reduce_sum(counted))


def softmax_loss(compared: Comparison, smoothing: float = 0.0) -> tf.Tensor:
    """Part of this device in the mean cross-entropy of each positive among its candidates.

    Args:
        compared: Scores; each loses the logarithm of its expected count.
        smoothing: Share of the probability that is spread evenly over a row's candidates and its positive.
    """
    own, others = compared.own, compared.others
    if compared.counts is not None:
        others -= tf.math.log(compared.counts)[None]
        if compared.own_counts is not None:
            own -= tf.math.log(compared.own_counts)
    others = tf.where(compared.masked, tf.constant(MASKED, others.dtype), others)
    scores = tf.concat([own[:, None], others], 1)
    wanted = own
    if smoothing:
        possible = tf.cast(scores > MASKED / 2, scores.dtype)
        everywhere = tf.reduce_sum(scores * possible, 1) / tf.reduce_sum(possible, 1)
        wanted = (1.0 - smoothing) * own + smoothing * everywhere
    return _mean_of_rows(tf.reduce_logsumexp(scores, 1) - wanted)


def contrastive_loss(compared: Comparison, config: CosineContrastiveConfig) -> tf.Tensor:
    """Part of this device in the mean cosine contrastive loss.

    Args:
        compared: Cosines. With expected counts, the mean over candidates estimates that over the catalogue.
        config: Margin and weight.
    """
    counted = tf.cast(~compared.masked, compared.others.dtype)
    if compared.counts is None:
        weights = counted / tf.maximum(tf.reduce_sum(counted, 1, keepdims=True), 1.0)
    else:
        weights = counted / (compared.counts[None] * compared.items)
    pushed = tf.reduce_sum(weights * tf.nn.relu(compared.others - config.margin), 1)
    return _mean_of_rows(1.0 - compared.own + config.negative_weight * pushed)


def _mean_of_rows(losses: tf.Tensor) -> tf.Tensor:
    return _mean(losses, tf.cast(tf.shape(losses)[0], losses.dtype))


def _mean(losses: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(losses) / tf.maximum(sum_over_replicas(count), 1.0)
