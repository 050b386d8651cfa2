"""Reads JSON lines as Arrow batches: one object per line, with the wanted keys as columns.

An object may leave keys out: that is a missing value, as ``null`` is. Numbers and truth values become text, as those of
a CSV file are.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa

from crossrec.components.errors import DataError

LINES = 1 << 15
"""Lines of a batch."""

_SHOWN = 60
_MEND = "Write one whole JSON object per line, in UTF-8."


def read_json_lines(stream: BinaryIO, name: str, columns: dict[str, str], table: str) -> Iterator[pa.RecordBatch]:
    """Read the wanted columns of a file.

    Args:
        stream: The file's bytes.
        name: What messages call the file.
        columns: Column name to the dotted path of the field that names it.
        table: Dotted path of the table in the spec.

    Yields:
        Batches: every value as text in bytes, lists as lists of these.

    Raises:
        DataError: If a line is no object, or a value cannot be a cell of a table.
    """
    lines = _numbered(stream)
    while chunk := list(itertools.islice(lines, LINES)):
        objects = [_object(line, number, name, table) for number, line in chunk]
        place = name, chunk[0][0]
        arrays = [_column([entry.get(column) for entry in objects], column, columns, place) for column in columns]
        yield pa.RecordBatch.from_arrays(arrays, list(columns))


def first_keys(stream: BinaryIO, name: str, table: str, lines: int = 10_000) -> tuple[list[str], bool]:
    """The keys that objects at the beginning of a file have, in the order in which they come, and whether that is all.

    Raises:
        DataError: If a line is no object.
    """
    keys: dict[str, None] = {}
    numbered = _numbered(stream)
    for number, line in itertools.islice(numbered, lines):
        keys.update(dict.fromkeys(_object(line, number, name, table)))
    return list(keys), next(numbered, None) is None


def _numbered(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines and their numbers from 1, without an empty last one."""
    waiting = None
    for numbered in enumerate(stream, 1):
        if waiting is not None:
            yield waiting
        waiting = numbered
    if waiting is not None and waiting[1].strip():
        yield waiting


def _object(line: bytes, number: int, name: str, table: str) -> dict[str, Any]:
    try:
        entry = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{table}.path", f"line {number:,} of {name} is not UTF-8 text ({error.reason})", _MEND
        ) from error
    except (json.JSONDecodeError, RecursionError) as error:
        said = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else "too deep"
        raise DataError(f"{table}.path", f"line {number:,} of {name} is not JSON: {said}", _MEND) from error
    if not isinstance(entry, dict):
        raise DataError(f"{table}.path", f"line {number:,} of {name} is {_shown(entry)}, not an object", _MEND)
    return entry


def _column(values: Sequence[Any], column: str, columns: dict[str, str], place: tuple[str, int]) -> pa.Array:
    """One key's values as an array."""
    lists = any(isinstance(value, list) for value in values)
    cells: list[Any] = []
    for row, value in enumerate(values):
        try:
            cells.append(_list(value) if lists else _text(value))
        except (TypeError, UnicodeEncodeError) as error:
            name, first = place
            raise DataError(
                columns[column],
                f"column {column!r} holds {_shown(value)} in line {first + row:,} of {name}: {error}",
                "Write text, numbers, true or false there, or a list of these in every line.",
            ) from error
    return pa.array(cells, pa.list_(pa.binary()) if lists else pa.binary())


def _list(value: Any) -> list[bytes | None] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise TypeError("other lines hold a list")
    return [_text(part) for part in value]


def _text(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, (int, float)):
        return repr(value).encode("ascii")
    raise TypeError(f"{type(value).__name__} values cannot be cells of a table")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
