"""Statistics of files of tf.Examples on Beam, in memory that does not grow with the rows.

TensorFlow Data Validation's own Beam step counts every different value of a column exactly, by a GroupByKey, and keeps
128 accumulators for each split at once; on the direct runner both are held in memory. Here one worker has one
accumulator, of the sketches that TensorFlow Data Validation has for data in memory: values are counted exactly up to
1,024 different ones in a column, and then the most frequent ones with an error of at most a 1,024th of the rows (Misra
and Gries 1982, "Finding repeated elements"); how many there are is exact up to 16,384, and then within about 1 % (k
minimum values: Bar-Yossef et al. 2002, "Counting distinct elements in a data stream").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.public import tfxio

_BATCH = 1000

Accumulator = list[Any]


class OfFiles(beam.CombineFn):
    """Paths of gzipped TFRecord files to the statistics of all of their examples."""

    def setup(self) -> None:
        """Makes the sketches' functions, which need not be sent to the workers."""
        self._generators = stats_impl.get_generators(tfdv.StatsOptions(), in_memory=True)
        for generator in self._generators:
            generator.setup()

    def create_accumulator(self) -> Accumulator:
        """One accumulator for each kind of figures."""
        return [generator.create_accumulator() for generator in self._generators]

    def add_input(self, accumulator: Accumulator, path: str) -> Accumulator:
        """Reads a file, batch by batch."""
        options = tfxio.RecordBatchesOptions(batch_size=_BATCH, drop_final_batch=False, num_epochs=1, shuffle=False)
        for batch in tfxio.TFExampleRecord(path).RecordBatches(options):
            accumulator = [generator.add_input(part, batch) for generator, part in zip(self._generators, accumulator)]
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Accumulator]) -> Accumulator:
        """Joins what workers have."""
        return [generator.merge_accumulators(parts) for generator, parts in zip(self._generators, zip(*accumulators))]

    def extract_output(self, accumulator: Accumulator) -> statistics_pb2.DatasetFeatureStatisticsList:
        """The statistics."""
        return stats_impl.extract_statistics_output(accumulator, self._generators)


def add_statistics(pipeline: beam.Pipeline, split: str, files: Sequence[str], path: str) -> None:
    """Adds the steps of one split to a Beam pipeline.

    Args:
        pipeline: The pipeline.
        split: Its name.
        files: Its files.
        path: Where the statistics are written, a binary protocol buffer.
    """
    (
        pipeline
        | f"Files[{split}]" >> beam.Create(files)
        | f"Spread[{split}]" >> beam.Reshuffle()
        | f"Statistics[{split}]" >> beam.CombineGlobally(OfFiles())
        | f"Write[{split}]" >> tfdv.WriteStatisticsToBinaryFile(path)
    )
