"""Softmax losses of the two towers over the whole catalogue and over the items of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

_MASKED = -1e9


def sum_over_replicas(values: tf.Tensor) -> tf.Tensor:
    """The sum over all devices; the values themselves on one."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def gather_replicas(values: tf.Tensor) -> tf.Tensor:
    """Rows of all devices one after the other, with gradients to all of them; the values themselves on one.

    Args:
        values: ``[B, ...]``; B may differ between devices.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    return context.all_gather(values, axis=0)


@dataclass(frozen=True)
class BatchNegatives:
    """The items of the whole batch as each row's candidates.

    Attributes:
        rows: Item rows of all devices, int64 ``[C]``.
        own: Place of each of this device's rows among them, int64 ``[P]``.
    """

    rows: tf.Tensor
    own: tf.Tensor

    @classmethod
    def of(cls, rows: tf.Tensor) -> BatchNegatives:
        """From this device's item rows int64 ``[P]``."""
        size = tf.shape(rows, tf.int64)[0]
        everyone = gather_replicas(rows)
        places = tf.range(size)
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            before = tf.cumsum(gather_replicas(size[None]), exclusive=True)
            places += tf.gather(before, context.replica_id_in_sync_group)
        return cls(everyone, places)


def without(scores: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Scores ``[B, N]`` in which the items of rows ``[B, W]`` have no chance; negative rows are padding."""
    items = tf.shape(scores)[1]
    batch = tf.broadcast_to(tf.range(tf.shape(rows)[0])[:, None], tf.shape(rows))
    # A column beside the others takes the padding.
    columns = tf.where(rows < 0, items, tf.cast(rows, tf.int32))
    places = tf.stack([tf.reshape(batch, [-1]), tf.reshape(columns, [-1])], 1)
    masked = tf.fill([tf.shape(places)[0]], tf.constant(_MASKED, scores.dtype))
    return tf.tensor_scatter_nd_update(tf.pad(scores, [[0, 0], [0, 1]]), places, masked)[:, :items]


def catalogue_loss(scores: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    r"""Part of this device in the mean of :math:`-\log softmax(scores)` at the targets.

    Args:
        scores: float32 ``[B, N]``.
        targets: Item rows int64 ``[B, T]``; negative is padding.
    """
    log_probabilities = tf.gather(tf.nn.log_softmax(scores), tf.maximum(targets, 0), batch_dims=1)
    counted = tf.cast(targets >= 0, scores.dtype)
    return _mean(-log_probabilities * counted, tf.reduce_sum(counted))


def batch_loss(
    scores: tf.Tensor, batch: BatchNegatives, probabilities: tf.Tensor | None, remove_accidental_hits: bool
) -> tf.Tensor:
    """Part of this device in the mean cross-entropy of each row's item among the items of the batch.

    Args:
        scores: float32 ``[P, C]``.
        batch: The items of the batch.
        probabilities: Of each candidate to be drawn, float32 ``[C]``; scores lose the logarithm of theirs.
        remove_accidental_hits: Leaves out copies of a row's own item.
    """
    if probabilities is not None:
        scores -= tf.math.log(probabilities)[None]
    own = tf.gather(scores, batch.own[:, None], batch_dims=1)[:, 0]
    if remove_accidental_hits:
        mine = tf.gather(batch.rows, batch.own)
        copies = tf.equal(mine[:, None], batch.rows[None]) & tf.not_equal(
            batch.own[:, None], tf.range(tf.shape(batch.rows, tf.int64)[0])[None]
        )
        scores = tf.where(copies, tf.constant(_MASKED, scores.dtype), scores)
    losses = tf.reduce_logsumexp(scores, 1) - own
    return _mean(losses, tf.cast(tf.shape(losses)[0], losses.dtype))


def _mean(losses: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(losses) / tf.maximum(sum_over_replicas(count), 1.0)
