"""Records by partitions of users, through files: a partition's rows are read when it is its turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.utils.windowed_value import WindowedValue
from tfx.dsl.io import fileio

from crossrec.components.features.schema import USER
from crossrec.components.features.spill import Place, Spill, at_end_of_bundle, read_records

# Many at once, so that what one worker has of one partition comes in few pieces.
_BATCH = 16_384
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


def read_partition(places: Iterable[tuple[str, Place]], splits: Iterable[str]) -> dict[str, list[bytes]]:
    """The records of one partition by split, in the order in which the runner has them.

    Args:
        places: Where records lie, with their split.
        splits: All splits.
    """
    records: dict[str, list[bytes]] = {split: [] for split in splits}
    for split, place in places:
        records[split] += read_records([place])
    return records


class _Write(beam.DoFn):
    """Divides files of records; gives partition, split and place of what it writes."""

    def __init__(self, partitions: int, directory: str):
        self._partitions, self._directory = partitions, directory

    def setup(self) -> None:
        """Makes the directory."""
        fileio.makedirs(self._directory)

    def start_bundle(self) -> None:
        """Begins a new file: that of a bundle that failed is never read."""
        self._spill: Spill[tuple[int, str]] = Spill(self._directory)

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
                self._spill.write_records((int(part), split), records[parts == part].tolist())

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Closes the file."""
        for (part, split), place in self._spill.close():
            yield at_end_of_bundle((part, (split, place)))
