"""Records by partitions of users, through files.

Beam's direct runner groups in memory, so that a GroupByKey of the rows would hold them all. Grouped are the names of
files instead, one for each partition and bundle, and a partition's rows are read when it is its turn.
"""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue
from tfx.dsl.io import fileio

from crossrec.components.features.schema import USER

_BATCH = 2048
_COMPRESSION = "GZIP"


def by_user(pipeline: beam.Pipeline, patterns: Mapping[str, str], partitions: int, directory: str) -> beam.PCollection:
    """Adds the steps to a Beam pipeline.

    Args:
        pipeline: The pipeline.
        patterns: Transformed interactions of each split.
        partitions: Into how many partitions the users are divided.
        directory: For the files, reachable by all workers; the caller removes it after the run.

    Returns:
        A partition's number, and what ``read_partition`` takes.
    """
    written = [
        pipeline
        | f"Read[{split}]" >> beam.io.ReadFromTFRecord(pattern)
        | f"Batch[{split}]" >> beam.BatchElements(min_batch_size=256, max_batch_size=_BATCH)
        | f"ByUser[{split}]" >> beam.ParDo(_Write(split, partitions, directory))
        for split, pattern in patterns.items()
    ]
    return written | "Flatten" >> beam.Flatten() | "Group" >> beam.GroupByKey()


def read_partition(files: Iterable[tuple[str, str]], splits: Iterable[str]) -> dict[str, list[bytes]]:
    """The records of one partition by split, in the order in which the runner has the files.

    Args:
        files: Split and path of each file.
        splits: All splits.
    """
    records: dict[str, list[bytes]] = {split: [] for split in splits}
    for split, path in files:
        # One by one, each record would cost a call into TensorFlow.
        for batch in tf.data.TFRecordDataset(path, compression_type=_COMPRESSION).batch(_BATCH):
            records[split] += batch.numpy().tolist()
    return records


class _Write(beam.DoFn):
    """Writes the records of a bundle; gives partition, split and path of each file."""

    def __init__(self, split: str, partitions: int, directory: str):
        self._split, self._partitions, self._directory = split, partitions, directory

    def setup(self) -> None:
        """Makes the directory."""
        fileio.makedirs(self._directory)

    def start_bundle(self) -> None:
        """Begins new files: those of a bundle that failed are never read."""
        self._name = uuid.uuid4().hex
        self._writers: dict[int, tuple[str, Any]] = {}

    def process(self, records: list[bytes]) -> None:
        """Writes serialized tf.Examples."""
        users = tf.io.parse_example(records, {USER: tf.io.FixedLenFeature([1], tf.int64)})[USER].numpy()[:, 0]
        parts = users % self._partitions
        for part in np.unique(parts):
            writer = self._writer(int(part))
            for place in np.flatnonzero(parts == part):
                writer.write(records[place])

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Closes the files."""
        for part, (path, writer) in self._writers.items():
            writer.close()
            yield WindowedValue((part, (self._split, path)), MIN_TIMESTAMP, [GlobalWindow()])

    def _writer(self, part: int) -> Any:
        if part not in self._writers:
            path = posixpath.join(self._directory, f"{part:05d}-{self._split}-{self._name}")
            options = tf.io.TFRecordOptions(compression_type=_COMPRESSION, compression_level=1)
            self._writers[part] = path, tf.io.TFRecordWriter(path, options)
        return self._writers[part][1]
