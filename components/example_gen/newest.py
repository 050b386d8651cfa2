"""The time of the newest row of a table, where a window ends with it and no path tells."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Callable, Iterator, Sequence

import apache_beam as beam
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems

from crossrec.components.errors import DataError
from crossrec.components.example_gen import casts
from crossrec.components.example_gen.files import DataFile, open_file, write_file
from crossrec.components.example_gen.reader import Part, Wanted, read_part, split_file
from crossrec.components.example_gen.table import TablePlan

_FILE = "newest.txt"


def newest_second(
    make_pipeline: Callable[[], beam.Pipeline], plan: TablePlan, files: Sequence[DataFile], directory: str
) -> int:
    """Reads the times of all rows, and nothing else.

    Args:
        make_pipeline: Makes the Beam pipeline.
        plan: How the table is read.
        files: Its files.
        directory: For a file that is removed again.

    Returns:
        The latest unix second; 0 where no time can be read, which reading the whole table will tell of.
    """
    timestamp = next(column for column in plan.columns if column.kind == "time")
    wanted = dataclasses.replace(plan, columns=(timestamp,), filters=()).wanted
    path = posixpath.join(directory, _FILE)
    with make_pipeline() as pipeline:
        (
            pipeline
            | "Files" >> beam.Create(list(files))
            | "Parts" >> beam.FlatMap(_parts, plan.field)
            | "Spread" >> beam.Reshuffle()
            | "Times" >> beam.FlatMap(_latest, wanted, timestamp.name)
            | "Newest" >> beam.CombineGlobally(lambda times: max(times, default=0))
            | "Write" >> beam.Map(lambda newest: write_file(path, str(newest).encode("ascii")))
        )
    with open_file(path) as stream:
        newest = int(stream.read())
    FileSystems.delete([path])
    return newest


def _parts(file: DataFile, field: str) -> Iterator[Part]:
    try:
        yield from split_file(file, field)
    except DataError:
        return  # The reading of the whole table says what is wrong with the file.


def _latest(part: Part, wanted: Wanted, timestamp: str) -> Iterator[int]:
    try:
        for _, batch in read_part(part, wanted):
            latest = pc.max(casts.to_seconds(batch.column(timestamp)), min_count=1).as_py()
            if latest is not None:
                yield int(latest)
    except (DataError, casts.CastError):
        return  # As above.
