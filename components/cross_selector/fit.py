"""The fit of crosses on Beam: counts of every bundle of rows, merged, and written as the fitted schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue
from tfx.dsl.io import fileio

from crossrec.components.cross_selector.sample import batches
from crossrec.components.features.crosses.counts import Array
from crossrec.components.features.crosses.fitting import CrossCounts, CrossFitter, needs_times
from crossrec.components.features.crosses.time_parts import TimeHistogram
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import TIMESTAMP, FeatureSchema


@dataclass(frozen=True)
class FitPlan:
    """What is fitted on what.

    Attributes:
        schema: The features, and the crosses to fit.
        item_table: Directory of the transformed catalogue.
        label: The label of statistics that name none.
        spec: How to parse the transformed interactions.
    """

    schema: FeatureSchema
    item_table: str
    label: str
    spec: Mapping[str, Any]

    def fitter(self, histogram: TimeHistogram) -> CrossFitter:
        """The fitter, once the times of the training rows are known."""
        return CrossFitter(self.schema, ItemTable.read(self.item_table).features, self.label, histogram)


def add_fit(pipeline: beam.Pipeline, pattern: str, plan: FitPlan, directory: str) -> None:
    """Adds the steps to a Beam pipeline; when it has run, the directory holds the fitted schema.

    Args:
        pipeline: The pipeline.
        pattern: Transformed interactions of the training split, gzipped TFRecord files.
        plan: What to fit.
        directory: Where the schema and its tables go.
    """
    if not plan.schema.crosses:
        plan.schema.write(directory)
        return
    files = sorted(fileio.glob(pattern))
    if needs_times(plan.schema):
        # A reading of its own: a runner keeps what two stages share, and the direct runner keeps it in memory.
        times = _read(pipeline, "Times", files, {TIMESTAMP: plan.spec[TIMESTAMP]}) | "Time" >> beam.Map(
            lambda batch: batch[TIMESTAMP][:, 0]
        )
    else:
        times = pipeline | "NoTimes" >> beam.Create([])
    histogram = beam.pvalue.AsSingleton(times | "TimeHistogram" >> beam.CombineGlobally(_MergeTimes()))
    (
        _read(pipeline, "Training", files, plan.spec)
        | "CountCrosses" >> beam.ParDo(_Count(plan), histogram)
        | "MergeCounts" >> beam.CombineGlobally(_MergeCounts(plan))
        | "WriteCrosses" >> beam.Map(_write, plan, directory, histogram)
    )


def _read(pipeline: beam.Pipeline, name: str, files: Sequence[str], spec: Mapping[str, Any]) -> beam.PCollection:
    """Parsed batches of the rows in files."""
    return (
        pipeline
        | f"{name}Files" >> beam.Create(files)
        | f"{name}Spread" >> beam.Reshuffle()
        | f"{name}Read" >> beam.FlatMap(batches, dict(spec))
    )


class _Count(beam.DoFn):
    """Batches to one set of counts per bundle."""

    def __init__(self, plan: FitPlan):
        self._plan = plan

    def setup(self) -> None:
        """Begins without a fitter, which needs the histogram."""
        self._fitter: CrossFitter | None = None

    def start_bundle(self) -> None:
        """Begins without counts."""
        self._counts: dict[str, CrossCounts] | None = None

    def process(self, element: dict[str, Array], histogram: TimeHistogram) -> None:
        """Counts one batch."""
        if self._fitter is None:
            self._fitter = self._plan.fitter(histogram)
        self._counts = self._fitter.add(self._counts or self._fitter.create(), element)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Yields the counts of the bundle."""
        if self._counts is not None:
            yield WindowedValue(self._counts, GlobalWindow().max_timestamp(), [GlobalWindow()])


class _MergeTimes(beam.CombineFn):
    def create_accumulator(self) -> TimeHistogram:
        """An empty histogram."""
        return TimeHistogram()

    def add_input(self, accumulator: TimeHistogram, element: Array) -> TimeHistogram:
        """Adds the times of a batch."""
        accumulator.add(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[TimeHistogram]) -> TimeHistogram:
        """Adds histograms up."""
        merged = TimeHistogram()
        for part in accumulators:
            merged.merge(part)
        return merged

    def extract_output(self, accumulator: TimeHistogram) -> TimeHistogram:
        """The histogram itself."""
        return accumulator


class _MergeCounts(beam.CombineFn):
    def __init__(self, plan: FitPlan):
        self._plan = plan

    def create_accumulator(self) -> dict[str, CrossCounts]:
        """Empty counts."""
        return self._fitter().create()

    def add_input(self, accumulator: dict[str, CrossCounts], element: dict[str, CrossCounts]) -> dict[str, CrossCounts]:
        """Adds the counts of a bundle."""
        return self.merge_accumulators([accumulator, element])

    def merge_accumulators(self, accumulators: Iterable[dict[str, CrossCounts]]) -> dict[str, CrossCounts]:
        """Adds counts up."""
        return self._fitter().merge(accumulators)

    def extract_output(self, accumulator: dict[str, CrossCounts]) -> dict[str, CrossCounts]:
        """The counts themselves."""
        return accumulator

    def _fitter(self) -> CrossFitter:
        return CrossFitter(self._plan.schema, {}, self._plan.label)


def _write(counts: dict[str, CrossCounts], plan: FitPlan, directory: str, histogram: TimeHistogram) -> None:
    plan.fitter(histogram).extract(counts).write(directory)
