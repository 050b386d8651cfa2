"""The Beam pipeline that both tables go through: read, check, partition, finish, write."""

from __future__ import annotations

import dataclasses
import json
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
from apache_beam.pvalue import AsSingleton, TaggedOutput

from crossrec.components.errors import DataError
from crossrec.components.example_gen.catalogue import Catalogue
from crossrec.components.example_gen.files import DataFile, open_file, write_file
from crossrec.components.example_gen.finish import Finish, FinishInteractions, Tally
from crossrec.components.example_gen.prepare import match_items, prepare
from crossrec.components.example_gen.problems import join_errors
from crossrec.components.example_gen.reader import Part, read_part, split_file
from crossrec.components.example_gen.records import read_texts, write_shard
from crossrec.components.example_gen.report import IngestReport
from crossrec.components.example_gen.summary import Summary
from crossrec.components.example_gen.table import TablePlan
from crossrec.components.example_gen.time_split import find_cuts
from crossrec.components.example_gen.verdict import judge_rows, judge_splits
from crossrec.components.features.spill import Place, Spill, at_end_of_bundle, read_places

PARTITION_ROWS = 250_000
"""Rows that one worker sorts and writes in memory."""

OUTCOME_FILE = "ingest_outcome.json"
_SUMMARY = "summary"
_ROWS = "rows"


@dataclasses.dataclass(frozen=True)
class Ingestion:
    """One table on its way into examples.

    Attributes:
        plan: How it is read.
        finish: What happens to each partition.
        uri: Directory of the Examples artifact.
        partitions: Into how many parts the ids are divided.
        drop_unknown: Whether interactions with unknown items are dropped and counted.
    """

    plan: TablePlan
    finish: Finish
    uri: str
    partitions: int
    drop_unknown: bool = False

    @property
    def spilled(self) -> str:
        """Directory for rows on their way to their partition; the caller removes it after the run."""
        return posixpath.join(self.uri, "spilled")


def ingest(
    pipeline: beam.Pipeline,
    job: Ingestion,
    files: Sequence[DataFile],
    item_files: tuple[str, Sequence[str]] | None,
) -> None:
    """Add the steps to a Beam pipeline; what came of them is in `OUTCOME_FILE` after the run.

    Args:
        pipeline: The pipeline.
        job: What to do.
        files: The table's files.
        item_files: For interactions: name of the item id feature, and the record files of the catalogue.
    """
    parts = pipeline | "Files" >> beam.Create(list(files)) | "Parts" >> _split(job.plan)
    catalogue = None
    if item_files is not None:
        catalogue = AsSingleton(
            pipeline
            | "ItemFiles" >> beam.Create(list(item_files[1]))
            | "ItemIds" >> beam.Map(_read_catalogue, item_files[0])
            | "Catalogue" >> beam.CombineGlobally(Catalogue.merge)
        )
    parted = parts[_ROWS] | "Spread" >> beam.Reshuffle()
    read = parted | "Read" >> beam.ParDo(_Read(job), catalogue).with_outputs(_SUMMARY, main=_ROWS)
    summary = (
        (parts[_SUMMARY], read[_SUMMARY])
        | "Summaries" >> beam.Flatten()
        | "Summary" >> beam.CombineGlobally(Summary.merge)
    )
    tallies = (
        read[_ROWS]
        | "Partition" >> beam.GroupByKey()
        | "Write" >> beam.ParDo(_Write(job), AsSingleton(summary))
        | "Tally" >> beam.CombineGlobally(Tally.merge)
    )
    _ = tallies | "Outcome" >> beam.Map(_write_outcome, AsSingleton(summary), job)


def outcome(uri: str) -> IngestReport:
    """Read what came of a run.

    Args:
        uri: Directory of the Examples artifact.

    Returns:
        The report.

    Raises:
        DataError: If the data cannot be used.
    """
    with open_file(posixpath.join(uri, OUTCOME_FILE)) as stream:
        content = json.load(stream)
    if content["errors"]:
        # JSON has no tuples.
        errors = [DataError(field, said, mend, tuple(more)) for field, said, mend, more in content["errors"]]
        raise join_errors(errors)
    return IngestReport.model_validate(content["report"])


def partition(batch: pa.RecordBatch, key: str, partitions: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Divide a batch by a hash of its ids that is the same on every machine.

    Args:
        batch: The batch, [rows].
        key: Name of the id column.
        partitions: Into how many parts.

    Yields:
        Number of the partition, and its rows.
    """
    ids = batch.column(key).dictionary_encode()
    hashes = pd.util.hash_array(ids.dictionary.to_numpy(zero_copy_only=False), categorize=False)
    places = (hashes % np.uint64(partitions)).astype(np.int64)[ids.indices.to_numpy()]
    order = np.argsort(places, kind="stable")
    ordered = batch.take(pa.array(order))
    ends = np.cumsum(np.bincount(places, minlength=partitions))
    start = 0
    for number, end in enumerate(ends.tolist()):
        if end > start:
            yield number, ordered.slice(start, end - start)
        start = end


def _read_catalogue(path: str, feature: str) -> Catalogue:
    return Catalogue.from_ids(read_texts(path, feature))


def _split(plan: TablePlan) -> beam.ParDo:
    return beam.ParDo(_Split(plan)).with_outputs(_SUMMARY, main=_ROWS)


class _Split(beam.DoFn):
    def __init__(self, plan: TablePlan) -> None:
        self._plan = plan

    def process(self, file: DataFile) -> Iterator[Any]:
        try:
            yield from split_file(file, self._plan.field)
        except DataError as error:
            yield TaggedOutput(_SUMMARY, Summary(errors=(error,)))


class _Read(beam.DoFn):
    def __init__(self, job: Ingestion) -> None:
        self._job = job

    def start_bundle(self) -> None:
        self._spill: Spill[int] = Spill(self._job.spilled)
        self._summary = Summary()

    def process(self, part: Part, catalogue: Catalogue | None) -> None:
        plan, summary = self._job.plan, self._summary
        try:
            for first_row, raw in read_part(part, plan.wanted):
                batch = prepare(raw, first_row, part.file, plan, summary)
                if batch is not None and catalogue is not None:
                    # By the plan's order, user, item.
                    item = plan.columns[1].name
                    batch = match_items(batch, item, catalogue, part.file, summary, self._job.drop_unknown)
                if batch is not None and batch.num_rows:
                    summary.count(batch, plan)
                    for number, rows in partition(batch, plan.key, self._job.partitions):
                        self._spill.write(number, rows)
        except DataError as error:
            summary.errors += (error,)

    def finish_bundle(self) -> Iterator[Any]:
        yield TaggedOutput(_SUMMARY, at_end_of_bundle(self._summary))
        yield from map(at_end_of_bundle, self._spill.close())


class _Write(beam.DoFn):
    def __init__(self, job: Ingestion) -> None:
        self._job = job

    def process(self, element: tuple[int, Iterable[Place]], summary: Summary) -> Iterator[Tally]:
        if judge_rows(summary, self._job.plan):
            return
        number, places = element
        tables, tally = self._job.finish(read_places(places), summary)
        for name, table in tables.items():
            write_shard(table, posixpath.join(self._job.uri, f"Split-{name}"), number, self._job.partitions)
        yield tally


REPEATS = "comes after a positive of the same user and item"
"""What the report calls rows that `repeats: first` drops."""


def _write_outcome(tally: Tally, summary: Summary, job: Ingestion) -> None:
    errors = judge_rows(summary, job.plan)
    if not errors and tally.duplicates is not None:
        errors = [tally.duplicates.error()]
    cuts, interactions = None, isinstance(job.finish, FinishInteractions)
    if not errors and isinstance(job.finish, FinishInteractions):
        rows = {name: split.rows for name, split in tally.splits.items()}
        errors = judge_splits(rows, summary, job.finish.split)
        cuts = find_cuts(job.finish.split, summary.times) if job.finish.split.by == "time" else None
    report = IngestReport(
        rows_read=summary.rows_read,
        rows_kept=sum(split.rows for split in tally.splits.values()),
        dropped={**summary.dropped, **({REPEATS: tally.repeats} if tally.repeats else {})},
        users=tally.keys if interactions else None,
        items=summary.items if interactions else tally.keys,
        positives=summary.positives,
        splits=tally.splits,
        cuts=cuts,
    )
    content = {"errors": [error.args for error in errors], "report": report.model_dump()}
    write_file(posixpath.join(job.uri, OUTCOME_FILE), json.dumps(content).encode("utf-8"))
