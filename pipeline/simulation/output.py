"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from .config import SECONDS_PER_DAY
from .errors import SimulationError
from .tables import flat_table

INTERACTIONS = "interactions"
TRUTH_FILE = "truth.json"
_OWN_NAMES = frozenset({INTERACTIONS, "items.parquet", "items.csv", TRUTH_FILE})


def _refuse_wrong_target(target: Path, overwrite: bool) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise SimulationError(f"{target}: is not a folder; name a folder that is new, empty or a former simulation")
    if not target.is_dir():
        return
    names = {entry.name for entry in target.iterdir()}
    if names and not overwrite:
        raise SimulationError(f"{target}: is not empty; pass --overwrite to replace it, or name another folder")
    foreign = sorted(names - _OWN_NAMES)
    if foreign or (names and TRUTH_FILE not in names):
        what = f"holds {foreign[0]!r}" if foreign else f"has no {TRUTH_FILE}"
        raise SimulationError(
            f"{target}: {what}, so it is not a former simulation and is not overwritten; "
            "empty it yourself, or name another folder"
        )


def _publish(partial: Path, target: Path) -> None:
    """Put the finished folder in its place; a former simulation is set aside first and comes back on failure."""
    if not target.is_dir() or not any(target.iterdir()):
        os.replace(partial, target)
        return
    aside = partial.with_name(partial.name + ".former")
    os.replace(target, aside)
    try:
        os.replace(partial, target)
    except BaseException:
        os.replace(aside, target)
        raise
    shutil.rmtree(aside)


@contextlib.contextmanager
def atomic_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """Give a temporary folder beside the target, and rename it to the target when the block ends well.

    Args:
        target: the folder to make.
        overwrite: whether a former simulation at the target may be replaced.

    Yields:
        The temporary folder; it is removed if the block raises, and the target is then as it was.

    Raises:
        SimulationError: the target may not be written, or writing failed (a full disk, for example).
    """
    target = Path(os.path.abspath(target))
    try:
        _refuse_wrong_target(target, overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    except OSError as error:
        raise SimulationError(
            f"{target}: cannot be written ({error.strerror}); name a folder that you may write to"
        ) from error
    try:
        partial.chmod(0o755)
        yield partial
        _publish(partial, target)
    except OSError as error:
        raise SimulationError(
            f"{target}: writing failed ({error}); nothing was left there. Free space or name a folder on another disk, "
            "and run again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class TableWriter:
    """Writes tables as part files of equal size, in row groups of equal size.

    Args:
        folder: where parts `part-00000`, `part-00001`, ... go; made if missing.
        schema: schema of the tables.
        form: `parquet` or `csv`.
        chunk_rows: rows per row group.
        rows_per_file: rows per part, rounded up to whole row groups.
    """

    def __init__(
        self,
        folder: Path,
        schema: pa.Schema,
        form: Literal["parquet", "csv"],
        chunk_rows: int,
        rows_per_file: int,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._schema, self._form = folder, schema, form
        self._chunk_rows = chunk_rows
        self._groups_per_file = max(1, -(-rows_per_file // chunk_rows))
        self._buffer: list[pa.Table] = []
        self._buffered = 0
        self._groups = 0
        self._sink: pq.ParquetWriter | pa_csv.CSVWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append a table."""
        self._buffer.append(table)
        self._buffered += table.num_rows
        while self._buffered >= self._chunk_rows:
            self._flush(self._chunk_rows)

    def close(self) -> None:
        """Write what is left and close the last part."""
        if self._buffered:
            self._flush(self._buffered)
        self._close_part()

    def abandon(self) -> None:
        """Close the open part without caring whether that succeeds, because it is thrown away."""
        self._buffer, self._buffered = [], 0
        with contextlib.suppress(OSError):
            self._close_part()

    def _flush(self, rows: int) -> None:
        table = pa.concat_tables(self._buffer)
        self._buffer = [table.slice(rows)]
        self._buffered -= rows
        if self._groups % self._groups_per_file == 0:
            self._close_part()
            part = self._groups // self._groups_per_file
            self._sink = open_writer(self._folder / f"part-{part:05d}.{self._form}", self._schema, self._form)
        assert self._sink is not None
        write_chunk(self._sink, table.slice(0, rows))
        self._groups += 1

    def _close_part(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()


class DailyWriter:
    """Writes tables that are in the order of time into a folder for each day, ``2025-06-30`` and so on.

    Args:
        folder: where the folders go; made if missing.
        make_writer: makes the writer of a day's folder.
    """

    def __init__(self, folder: Path, make_writer: Callable[[Path], TableWriter]) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._make_writer = folder, make_writer
        self._day: int | None = None
        self._writer: TableWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append a table."""
        days = table.column("timestamp").to_numpy() // SECONDS_PER_DAY
        starts = np.flatnonzero(np.diff(days, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(days)]):
            if days[start] != self._day:
                self.close()
                self._day = int(days[start])
                name = datetime.fromtimestamp(self._day * SECONDS_PER_DAY, timezone.utc).strftime("%Y-%m-%d")
                self._writer = self._make_writer(self._folder / name)
            assert self._writer is not None
            self._writer.write(table.slice(start, end - start))

    def close(self) -> None:
        """Write what is left of the last day."""
        if self._writer is not None:
            self._writer.close()

    def abandon(self) -> None:
        """Close the open part without caring whether that succeeds, because it is thrown away."""
        if self._writer is not None:
            self._writer.abandon()


def open_writer(path: Path, schema: pa.Schema, form: Literal["parquet", "csv"]) -> pq.ParquetWriter | pa_csv.CSVWriter:
    """Open a file for tables of a schema."""
    if form == "parquet":
        return pq.ParquetWriter(str(path), schema)
    return pa_csv.CSVWriter(str(path), flat_table(schema.empty_table()).schema)


def write_chunk(sink: pq.ParquetWriter | pa_csv.CSVWriter, table: pa.Table) -> None:
    """Write a table as one row group, or as lines."""
    if isinstance(sink, pq.ParquetWriter):
        sink.write_table(table, row_group_size=max(1, table.num_rows))
    else:
        sink.write_table(flat_table(table))
