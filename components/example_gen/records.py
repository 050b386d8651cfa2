"""Writes Arrow tables as tf.Example records, and reads item ids back from such records."""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import tensorflow as tf
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from crossrec.components.example_gen.casts import lists_from
from crossrec.components.example_gen.files import write_file

FILE_PREFIX = "data_tfrecord"
"""How the record files of a split begin, as TFX names them."""

_ENCODE_ROWS = 1 << 13


def write_shard(table: pa.Table, split_dir: str, shard: int, shards: int) -> None:
    """Write rows as one gzipped TFRecord file of tf.Example.

    Text becomes bytes, numbers float32 or int64; a missing value is a feature without values.

    Args:
        table: The rows; no file is written if there are none.
        split_dir: Directory of the split.
        shard: Number of the file, from 0.
        shards: Number of files that the split may have.
    """
    if table.num_rows == 0:
        return
    encoder = RecordBatchToExamplesEncoder()
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, FILE_PREFIX)
        # Level 1: five times as fast as the default for a tenth more bytes.
        options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
        with tf.io.TFRecordWriter(local, options) as writer:
            for batch in table.combine_chunks().to_batches(_ENCODE_ROWS):
                for record in encoder.encode(as_lists(batch)):
                    writer.write(record)
        # By way of Beam, which opens the file systems of its runners; TensorFlow alone does not.
        with open(local, "rb") as content:
            write_file(posixpath.join(split_dir, f"{FILE_PREFIX}-{shard:05d}-of-{shards:05d}.gz"), content)


def as_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give every column the type that the tf.Example encoder takes: lists of bytes, float32 or int64.

    Args:
        batch: Scalar columns and lists of text, [rows].

    Returns:
        The same values, each column a list, null where a value is missing.
    """
    return pa.RecordBatch.from_arrays([_as_list(column) for column in batch.columns], batch.schema.names)


def record_files(split_dir: str) -> list[str]:
    """List the record files of a split, ordered by name."""
    pattern = posixpath.join(split_dir, f"{FILE_PREFIX}-*")
    return sorted(metadata.path for metadata in FileSystems.match([pattern])[0].metadata_list)


def read_texts(path: str, feature: str) -> pa.Array:
    """Read one text feature of every record of a file.

    Args:
        path: A gzipped TFRecord file of at least one tf.Example.
        feature: Name of a feature with one value in every record.

    Returns:
        String array [records].
    """
    with _local(path) as local:
        # One batch holds the file: a shard is small enough to be sorted in memory.
        records = tf.data.TFRecordDataset(local, "GZIP").batch(1 << 30).get_single_element()
    values = tf.io.parse_example(records, {feature: tf.io.FixedLenFeature([], tf.string)})[feature]
    return pa.array(values.numpy(), pa.binary()).cast(pa.string())


def _as_list(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type):
        values = column.flatten()
        counts = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    else:
        values = column.drop_null()
        counts = column.is_valid().to_numpy(zero_copy_only=False).astype(np.int32)
    if pa.types.is_string(values.type):
        values = values.cast(pa.binary())
    return lists_from(counts, values)


@contextlib.contextmanager
def _local(path: str) -> Iterator[str]:
    """Give a path that TensorFlow can open: the file itself, or a copy of a remote one."""
    if FileSystems.get_scheme(path) is None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "records")
        with (
            FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source,
            open(copy, "wb") as sink,
        ):
            shutil.copyfileobj(source, sink)
        yield copy
