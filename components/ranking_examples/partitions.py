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

from crossrec.components.features.examples import record_writer
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
    files = [(split, path) for split, pattern in patterns.items() for path in sorted(fileio.glob(pattern))]
    return (
        pipeline
        | "Files" >> beam.Create(files)
        | "Spread" >> beam.Reshuffle()
        | "ByUser" >> beam.ParDo(_Write(partitions, directory))
        | "Group" >> beam.GroupByKey()
    )


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
    """Divides files of records; gives partition, split and path of each file that it writes."""

    def __init__(self, partitions: int, directory: str):
        self._partitions, self._directory = partitions, directory

    def setup(self) -> None:
        """Makes the directory."""
        fileio.makedirs(self._directory)

    def start_bundle(self) -> None:
        """Begins new files: those of a bundle that failed are never read."""
        self._name = uuid.uuid4().hex
        self._writers: dict[tuple[int, str], tuple[str, Any]] = {}

    def process(self, file: tuple[str, str]) -> None:
        """Writes the serialized tf.Examples of a file.

        Args:
            file: Its split and path.
        """
        split, path = file
        for batch in tf.data.TFRecordDataset(path, compression_type=_COMPRESSION).batch(_BATCH):
            users = tf.io.parse_example(batch, {USER: tf.io.FixedLenFeature([1], tf.int64)})[USER].numpy()[:, 0]
            parts, records = users % self._partitions, batch.numpy()
            for part in np.unique(parts):
                writer = self._writer(int(part), split)
                for record in records[parts == part]:
                    writer.write(record)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Closes the files."""
        for (part, split), (path, writer) in self._writers.items():
            writer.close()
            yield WindowedValue((part, (split, path)), MIN_TIMESTAMP, [GlobalWindow()])

    def _writer(self, part: int, split: str) -> Any:
        if (part, split) not in self._writers:
            path = posixpath.join(self._directory, f"{part:05d}-{split}-{self._name}")
            self._writers[part, split] = path, record_writer(path)
        return self._writers[part, split][1]
