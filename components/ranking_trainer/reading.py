"""Ranking examples as batches of rows, where a task of grades asks for it as batches of whole lists."""

from __future__ import annotations

import tensorflow as tf

from crossrec.components.features.schema import USER
from crossrec.components.modeling import inputs
from crossrec.components.ranking_examples.lists import LIST, parse_list
from crossrec.components.ranking_trainer.config import RankingConfig

_LISTS = 1024


def read_rows(
    data: inputs.TrainingData, split: str, config: RankingConfig, batch_size: int, shuffle: bool = False
) -> tf.data.Dataset:
    """Batches of a split; every value is ``[B, width]``, and with a task of grades there is ``@list`` too.

    Args:
        data: The examples.
        split: Its name.
        config: Tells whether there is a task of grades; also buffer and seed of the shuffle.
        batch_size: Rows of a batch. Of whole lists a batch has as many as have so many rows on average, at least one.
        shuffle: Whether rows, or lists, come in another order in each pass.
    """
    training = config.training
    buffer = training.shuffle_rows if shuffle else 0
    if not config.learns_lists:
        return inputs.read_batches(data.patterns[split], data.spec, batch_size, buffer, training.seed)
    length = mean_length(data.patterns[split])
    lists = inputs.read_records(data.patterns[split], round(buffer / length), training.seed).map(
        lambda record: parse_list(record, data.spec), num_parallel_calls=tf.data.AUTOTUNE
    )
    return whole_lists(lists, max(1, round(batch_size / length)))


def mean_length(pattern: str) -> float:
    """Rows of a list on average, at least 1."""
    lists = rows = 0
    for record in inputs.read_records(pattern).batch(_LISTS):
        sizes = tf.io.parse_example(record, {USER: tf.io.RaggedFeature(tf.int64)})[USER].row_lengths()
        lists, rows = lists + int(tf.size(sizes)), rows + int(tf.reduce_sum(sizes))
    return max(rows / max(lists, 1), 1.0)


def whole_lists(lists: tf.data.Dataset, count: int) -> tf.data.Dataset:
    """Batches of whole lists, in their order.

    It is lists that are counted, not rows: so each pass has as many batches, which Keras takes for granted.

    Args:
        lists: Each a list, ``{name: [n, width]}``.
        count: Lists of a batch; the last batch of a pass has the rest.

    Returns:
        Batches ``{name: [B, width]}``, and ``@list`` int64 ``[B, 1]``, the number of each row's list in this pass.
    """

    def numbered(number: tf.Tensor, rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        size = tf.shape(next(iter(rows.values())))[0]
        return {**rows, LIST: tf.fill([size, 1], number)}

    batches = lists.enumerate().map(numbered).ragged_batch(count)
    return batches.map(lambda rows: {name: _joined(values) for name, values in rows.items()})


def _joined(values: tf.RaggedTensor | tf.Tensor) -> tf.Tensor:
    """Lists one after the other, ``[L, n, width]`` to ``[B, width]``."""
    return values.values if isinstance(values, tf.RaggedTensor) else tf.reshape(values, [-1, values.shape[-1]])
