"""Ranking examples as batches of rows, where a task of grades asks for it as batches of whole lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from crossrec.components.modeling import inputs
from crossrec.components.ranking_examples.lists import LIST, parse_list
from crossrec.components.ranking_trainer.config import RankingConfig

_ROWS_OF_A_LIST = 16


def read_rows(
    data: inputs.TrainingData, split: str, config: RankingConfig, batch_size: int, shuffle: bool = False
) -> tf.data.Dataset:
    """Batches of a split; every value is ``[B, width]``, and with a task of grades there is ``@list`` too.

    Args:
        data: The examples.
        split: Its name.
        config: Tells whether there is a task of grades; also buffer and seed of the shuffle.
        batch_size: Rows of a batch; of whole lists at most so many, unless one list is longer, which is a batch alone.
        shuffle: Whether rows, or lists, come in another order in each pass.
    """
    training = config.training
    buffer = training.shuffle_rows if shuffle else 0
    if not config.learns_lists:
        return inputs.read_batches(data.patterns[split], data.spec, batch_size, buffer, training.seed)
    return read_lists(data.patterns[split], data.spec, batch_size, -(-buffer // _ROWS_OF_A_LIST), training.seed)


def read_lists(
    pattern: str, spec: Mapping[str, tf.io.FixedLenFeature], batch_size: int, shuffle: int = 0, seed: int = 0
) -> tf.data.Dataset:
    """Batches of whole lists, as rows.

    Args:
        pattern: Gzipped TFRecord files of lists.
        spec: How to parse one row.
        batch_size: Rows of a batch at most; a longer list is a batch of its own.
        shuffle: Lists in the shuffle buffer; 0 keeps the order.
        seed: Seed of the shuffle.
    """
    lists = inputs.read_records(pattern, shuffle, seed).map(
        lambda record: parse_list(record, spec), num_parallel_calls=tf.data.AUTOTUNE
    )
    return whole_lists(lists, batch_size)


def whole_lists(lists: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Packs lists into batches, in their order, without ever dividing one.

    Args:
        lists: Each a list, ``{name: [n, width]}``.
        batch_size: Rows of a batch at most; a longer list is a batch of its own.

    Returns:
        Batches ``{name: [B, width]}``, and ``@list`` int64 ``[B, 1]``, the number of each row's list in this pass.
    """
    signature = {**lists.element_spec, LIST: tf.TensorSpec([None, 1], tf.int64)}
    empty = {name: tf.zeros([0, *each.shape[1:]], each.dtype) for name, each in signature.items()}

    def numbered(number: tf.Tensor, rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        size = tf.shape(next(iter(rows.values())))[0]
        return {**rows, LIST: tf.fill([size, 1], number)}

    def pack(waiting: dict[str, tf.Tensor], element: Any) -> Any:
        rows, last = element
        size = tf.shape(waiting[LIST])[0]
        full = last | (size + tf.shape(rows[LIST])[0] > batch_size)
        given = tf.where(full, size, 0)
        kept = {name: tf.concat([waiting[name][given:], values], 0) for name, values in rows.items()}
        return kept, {name: values[:given] for name, values in waiting.items()}

    marked = lists.enumerate().map(numbered).map(lambda rows: (rows, tf.constant(False)))
    end = tf.data.Dataset.from_tensors((empty, tf.constant(True)))
    batches = marked.concatenate(end).scan(empty, tf.autograph.experimental.do_not_convert(pack))
    return batches.filter(lambda rows: tf.shape(rows[LIST])[0] > 0)
