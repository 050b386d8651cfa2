"""Transformed interactions as batches, and the features of items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tfx.dsl.io import fileio

from crossrec.components.features.item_table import ItemTable

Tensors = Mapping[str, tf.Tensor]


@dataclass(frozen=True)
class TrainingData:
    """Where transformed interactions lie, and how to parse them.

    Attributes:
        patterns: File pattern per split.
        spec: Parsing specification.
    """

    patterns: Mapping[str, str]
    spec: Mapping[str, Any]


def read_batches(
    pattern: str | Sequence[str],
    spec: Mapping[str, tf.io.FixedLenFeature],
    batch_size: int,
    shuffle: int = 0,
    seed: int = 0,
) -> tf.data.Dataset:
    """Parsed batches of transformed examples; every value is ``[B, width]``.

    Args:
        pattern: Gzipped TFRecord files; several patterns are read as one.
        spec: How to parse them.
        batch_size: Rows of a batch.
        shuffle: Records in the shuffle buffer; 0 keeps the order.
        seed: Seed of the shuffle.
    """
    return (
        read_records(pattern, shuffle, seed)
        .batch(batch_size)
        .map(lambda examples: tf.io.parse_example(examples, dict(spec)), num_parallel_calls=tf.data.AUTOTUNE)
    )


def read_records(pattern: str | Sequence[str], shuffle: int = 0, seed: int = 0) -> tf.data.Dataset:
    """The serialized examples of files; arguments as of ``read_batches``."""
    patterns = [pattern] if isinstance(pattern, str) else pattern
    files = tf.data.Dataset.from_tensor_slices([file for each in patterns for file in sorted(fileio.glob(each))])
    if shuffle:
        files = files.shuffle(1024, seed=seed, reshuffle_each_iteration=True)
    records = files.interleave(
        lambda file: tf.data.TFRecordDataset(file, compression_type="GZIP"),
        cycle_length=4,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    if shuffle:
        records = records.shuffle(shuffle, seed=seed, reshuffle_each_iteration=True)
    return records


def keep_rows(dataset: tf.data.Dataset, key: str, batch_size: int, drop_remainder: bool) -> tf.data.Dataset:
    """Only the rows whose ``key`` is positive, in batches of ``batch_size``."""

    def masked(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        keep = batch[key][:, 0] > 0
        return {name: tf.boolean_mask(values, keep) for name, values in batch.items()}

    return dataset.map(masked, num_parallel_calls=tf.data.AUTOTUNE).rebatch(batch_size, drop_remainder)


class ItemFeatures(tf.Module):
    """The item table's features as variables, gathered by row."""

    def __init__(self, table: ItemTable, names: Sequence[str]):
        """Copies the named features of the table into variables ``[N + 1, width]``."""
        super().__init__(name="item_features")
        self._items = table.items
        self._tables = {
            name: tf.Variable(table.features[name], trainable=False, name=f"items_{name}") for name in names
        }

    def __call__(self, rows: tf.Tensor, names: Sequence[str] | None = None) -> dict[str, tf.Tensor]:
        """Features of rows ``[...]`` as ``[..., width]``, all or some; a negative row is the unknown item."""
        known = tf.where(rows < 0, tf.constant(self._items, rows.dtype), rows)
        return {name: tf.gather(self._tables[name], known) for name in (self._tables if names is None else names)}
