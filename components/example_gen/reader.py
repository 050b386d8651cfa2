"""Reads the files of a table as Arrow batches, with their row numbers, and refuses what cannot be read."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from crossrec.components.errors import DataError
from crossrec.components.example_gen.files import DataFile, open_file
from crossrec.components.example_gen.json_lines import first_keys, read_json_lines

BATCH_ROWS = 1 << 17
"""Rows of a Parquet batch: large enough for vectorised work, small beside the memory of a worker."""

_CSV_BLOCK = 1 << 24
_HEADER_BYTES = 1 << 20
_UNREADABLE = (pa.ArrowException, OSError, EOFError, zlib.error)
_AGAIN = {
    "csv": "Write the file again; in CSV, quote values that hold the delimiter or line breaks.",
    "jsonl": "Write the file again; a name in .gz says that it is compressed.",
    "parquet": "Write the file again.",
}


class Part(NamedTuple):
    """A piece of a file that one worker reads.

    Attributes:
        file: The file.
        row_group: Index of the Parquet row group; None for a whole file.
        first_row: Number of rows of the file before it.
        rows: Number of rows; None where only reading tells.
    """

    file: DataFile
    row_group: int | None = None
    first_row: int = 0
    rows: int | None = None


class Wanted(NamedTuple):
    """Which columns are read, and which field of the spec wants each.

    Attributes:
        table: Dotted path of the table in the spec.
        columns: Column name to the dotted path of the field that names it.
        delimiter: What separates the columns of a CSV file.
    """

    table: str
    columns: dict[str, str]
    delimiter: str = ","


def split_file(file: DataFile, table: str) -> list[Part]:
    """Divide a file into pieces that can be read independently: Parquet by row group, others not at all.

    Args:
        file: The file.
        table: Dotted path of the table in the spec, for messages.

    Returns:
        The pieces, in order.

    Raises:
        DataError: If a Parquet file is none.
    """
    if file.format != "parquet":
        return [Part(file)]
    parts, first_row = [], 0
    with open_file(file.path) as stream:
        metadata = _parquet(stream, file, table).metadata
        for index in range(metadata.num_row_groups):
            rows = metadata.row_group(index).num_rows
            parts.append(Part(file, index, first_row, rows))
            first_row += rows
    return parts


def read_part(part: Part, wanted: Wanted) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Read the wanted columns of a piece; Parquet columns come with their own types, others as bytes.

    Args:
        part: The piece.
        wanted: The columns.

    Yields:
        Number of the batch's first row in the file, from 0, and the batch.

    Raises:
        DataError: If a column is missing or there twice, or the file cannot be read.
    """
    with open_file(part.file.path) as stream:
        batches = _READERS[part.file.format](stream, part, wanted)
        row = part.first_row
        while True:
            try:
                batch = next(batches, None)
            except _UNREADABLE as error:
                raise DataError(
                    f"{wanted.table}.path",
                    f"{part.file.name} cannot be read: {_first_line(error)}",
                    _AGAIN[part.file.format],
                ) from error
            if batch is None:
                return
            yield row, batch
            row += batch.num_rows


def check_columns(file: DataFile, wanted: Wanted) -> None:
    """Check that a file has every wanted column, once.

    An object of JSON lines may leave keys out, so of a long file only reading it all tells.

    Raises:
        DataError: If not, or if the file cannot be read.
    """
    with open_file(file.path) as stream:
        if file.format == "csv":
            names = _csv_header(stream, file, wanted)
        elif file.format == "jsonl":
            names, complete = _json_keys(stream, file, wanted)
            if not complete:
                return
        else:
            names = _parquet(stream, file, wanted.table).schema_arrow.names
    _require(names, file, wanted)


def estimate_rows(files: Sequence[DataFile], wanted: Wanted) -> int:
    """Estimate the rows of a table from its first file and the sizes of the others.

    Args:
        files: The files.
        wanted: The columns; tells the messages which table it is.

    Returns:
        A rough number of rows, at least 1.

    Raises:
        DataError: If a Parquet file is none.
    """
    first = files[0]
    size = sum(file.size for file in files)
    with open_file(first.path) as stream:
        if first.format == "parquet":
            rows, measured = _parquet(stream, first, wanted.table).metadata.num_rows, first.size
        else:
            sample = stream.read(_HEADER_BYTES)
            rows, measured = sample.count(b"\n"), len(sample)
            # Text packs to about a fifth.
            size *= 5 if first.path.endswith(".gz") else 1
    return max(1, int(rows) * size // max(1, measured))


def _read_csv(stream: BinaryIO, part: Part, wanted: Wanted) -> Iterator[pa.RecordBatch]:
    _require(_csv_header(stream, part.file, wanted), part.file, wanted)
    stream.seek(0)
    # Bytes, because Arrow's own error for text that is not UTF-8 does not say where it is.
    convert = pa_csv.ConvertOptions(
        include_columns=list(wanted.columns),
        column_types={name: pa.binary() for name in wanted.columns},
        strings_can_be_null=False,
    )
    with pa_csv.open_csv(
        pa.PythonFile(stream, mode="r"),
        read_options=pa_csv.ReadOptions(block_size=_CSV_BLOCK),
        parse_options=pa_csv.ParseOptions(delimiter=wanted.delimiter, newlines_in_values=True),
        convert_options=convert,
    ) as reader:
        yield from reader


def _read_json_lines(stream: BinaryIO, part: Part, wanted: Wanted) -> Iterator[pa.RecordBatch]:
    return read_json_lines(stream, part.file.name, wanted.columns, wanted.table)


def _read_parquet(stream: BinaryIO, part: Part, wanted: Wanted) -> Iterator[pa.RecordBatch]:
    file = _parquet(stream, part.file, wanted.table)
    _require(file.schema_arrow.names, part.file, wanted)
    columns = list(wanted.columns)
    for batch in file.iter_batches(BATCH_ROWS, row_groups=[part.row_group], columns=columns):
        yield pa.RecordBatch.from_arrays([batch.column(name) for name in columns], columns)


def _parquet(stream: BinaryIO, file: DataFile, table: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(stream)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{table}.path",
            f"{file.name} is not a Parquet file: {_first_line(error)}",
            "Write it as Parquet, or say format: csv if it is CSV.",
        ) from error


_READERS = {"csv": _read_csv, "jsonl": _read_json_lines, "parquet": _read_parquet}


def _json_keys(stream: BinaryIO, file: DataFile, wanted: Wanted) -> tuple[list[str], bool]:
    try:
        return first_keys(stream, file.name, wanted.table)
    except _UNREADABLE as error:
        raise _unreadable(error, file, wanted) from error


def _unreadable(error: Exception, file: DataFile, wanted: Wanted) -> DataError:
    return DataError(
        f"{wanted.table}.path",
        f"{file.name} cannot be read: {_first_line(error)}",
        "Write the file again; a name in .gz says that it is compressed.",
    )


def _csv_header(stream: BinaryIO, file: DataFile, wanted: Wanted) -> list[str]:
    try:
        head = stream.read(_HEADER_BYTES)
    except _UNREADABLE as error:
        raise _unreadable(error, file, wanted) from error
    line = head.split(b"\n", 1)[0]
    try:
        line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{wanted.table}.path",
            f"the first line of {file.name} is not UTF-8 text ({error.reason})",
            "Write the file as UTF-8 CSV with a header line.",
        ) from error
    text = io.StringIO(head.decode("utf-8-sig", errors="replace"), newline="")
    return next(csv.reader(text, delimiter=wanted.delimiter), [])


def _require(names: Sequence[str], file: DataFile, wanted: Wanted) -> None:
    for column, field in wanted.columns.items():
        if column not in names:
            listed = ", ".join(names[:30]) + (", …" if len(names) > 30 else "")
            raise DataError(
                field,
                f"column {column!r} is not in {file.name} (columns: {listed})",
                "Name one of these columns.",
            )
        if names.count(column) > 1:
            raise DataError(
                field,
                f"column {column!r} is {names.count(column)} times in {file.name}",
                "Give every column of the file its own name.",
            )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
