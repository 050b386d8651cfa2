"""Turns a raw batch into a clean one: filters, casts and checks, all on whole Arrow arrays."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from crossrec.components.example_gen import casts
from crossrec.components.example_gen.catalogue import Catalogue
from crossrec.components.example_gen.files import DataFile
from crossrec.components.example_gen.problems import Place, Problem, plain
from crossrec.components.example_gen.summary import UNKNOWN_ITEM, Summary
from crossrec.components.example_gen.table import Column, TablePlan

ORDER = "__order__"
"""Column with the place of a row in its table: file index and row number in one int64."""

_ROW_BITS = 40
_DAY = 86_400


class _Batch:
    """A batch under preparation: its raw columns, the places of its rows, and where to report."""

    def __init__(self, raw: pa.RecordBatch, order: npt.NDArray[Any], file: DataFile, summary: Summary) -> None:
        self.raw = raw
        self.order = order
        self.file = file
        self.summary = summary
        self.usable = True

    def keep(self, mask: pa.Array) -> None:
        self.raw = self.raw.filter(mask)
        self.order = self.order[mask.to_numpy(zero_copy_only=False)]

    def report(self, problem: Problem, row: int) -> None:
        self.usable = False
        place = Place(self.file.order, int(self.order[row]) & ((1 << _ROW_BITS) - 1), self.file.name)
        self.summary.add(problem._replace(first=place))

    def check(self, bad: pa.Array, problem: Problem) -> None:
        rows = np.flatnonzero(pc.fill_null(bad, False).to_numpy(zero_copy_only=False))
        if len(rows):
            self.report(problem._replace(rows=len(rows)), int(rows[0]))


def prepare(
    raw: pa.RecordBatch, first_row: int, file: DataFile, plan: TablePlan, summary: Summary
) -> pa.RecordBatch | None:
    """Filter, casts and checks a raw batch; what is wrong goes to the summary.

    Args:
        raw: The batch as it was read, [rows].
        first_row: Number of its first row in the file.
        file: The file it comes from.
        plan: What to read the columns as.
        summary: Counts and problems; added to.

    Returns:
        The batch with the plan's columns and `ORDER`, [rows kept]; None if nothing is left or usable.
    """
    summary.rows_read += raw.num_rows
    order = (np.int64(file.order) << _ROW_BITS) + np.arange(first_row, first_row + raw.num_rows, dtype=np.int64)
    batch = _Batch(raw, order, file, summary)
    _filter(batch, plan)
    if plan.moments is not None and batch.usable:
        _leave_outside(batch, str(plan.role("timestamp")), plan.moments)
    if not batch.usable or batch.raw.num_rows == 0:
        return None
    arrays: dict[str, pa.Array] = {}
    for column in plan.columns:
        if column.source is not None and column.grades is not None:
            if column.source not in arrays:
                continue  # Its column could not be read, which was told of.
            good = pc.greater_equal(arrays[column.source], float(column.grades.positive_from))
            arrays[column.name] = good.cast(pa.float32())
            continue
        try:
            arrays[column.name] = _cast(batch, column, plan)
        except casts.CastError as error:
            batch.report(_wrong_type(column, error), error.row)
    if not batch.usable:
        return None
    arrays[ORDER] = pa.array(batch.order)
    return pa.RecordBatch.from_arrays(list(arrays.values()), list(arrays))


def match_items(
    batch: pa.RecordBatch, item: str, catalogue: Catalogue, file: DataFile, summary: Summary, drop: bool
) -> pa.RecordBatch:
    """Remove the rows whose item is not in the catalogue and notes which items occur.

    Args:
        batch: A prepared batch, [rows].
        item: Name of its item column.
        catalogue: The known items.
        file: The file it comes from.
        summary: Counts and problems; added to.
        drop: Whether unknown items are only counted; otherwise they are a problem.

    Returns:
        The rows with known items.
    """
    indices = catalogue.find(batch.column(item))
    summary.see_items(indices.drop_null().to_numpy(), len(catalogue))
    if indices.null_count == 0:
        return batch
    unknown = indices.is_null()
    if drop:
        summary.drop(UNKNOWN_ITEM, indices.null_count)
    else:
        examples = pc.unique(batch.column(item).filter(unknown)).to_pylist()
        work = _Batch(batch, batch.column(ORDER).to_numpy(), file, summary)
        work.check(
            unknown,
            Problem(
                "data.interactions.item",
                "$rows with an item that is not in the catalogue, such as $examples (first: $first)",
                "Add these items to data.items, or write data.unknown_items: drop to leave such rows out.",
                examples=tuple(sorted(examples)[:5]),
            ),
        )
    return batch.filter(pc.invert(unknown))


def _filter(batch: _Batch, plan: TablePlan) -> None:
    for index, condition in enumerate(plan.filters):
        if batch.raw.num_rows == 0:
            return
        try:
            mask = condition.mask(batch.raw.column(condition.column))
        except casts.CastError as error:
            field = f"{plan.field}.filters[{index}]"
            wrong = Column(condition.column, "string", field)
            batch.report(_wrong_type(wrong, error), error.row)
            return
        dropped = len(mask) - pc.sum(mask, min_count=0).as_py()
        batch.summary.drop(condition.describe(), dropped)
        if dropped:
            batch.keep(mask)


def _leave_outside(batch: _Batch, timestamp: str, moments: tuple[int, int]) -> None:
    """Drop the rows outside the window; a time that cannot be read stays, to be told of as any other."""
    try:
        seconds = casts.to_seconds(batch.raw.column(timestamp)).to_numpy(zero_copy_only=False)
    except casts.CastError:
        return
    outside = (seconds < moments[0]) | (seconds >= moments[1])
    batch.summary.leave_outside(seconds[outside].astype(np.int64))
    if outside.any():
        batch.keep(pa.array(~outside))


def _cast(batch: _Batch, column: Column, plan: TablePlan) -> pa.Array:
    raw, kind = batch.raw.column(column.name), column.kind
    if kind == "id":
        ids = casts.to_text(raw, whole_numbers=True)
        batch.check(ids.is_null(), _missing(column, plan))
        return ids
    if kind == "time":
        seconds = casts.to_seconds(raw)
        batch.check(seconds.is_null(), _missing(column, plan))
        _check_times(batch, column, seconds)
        return seconds
    if kind == "label":
        return _labels(batch, column, plan, raw)
    if kind == "grade":
        return _grades(batch, column, plan, raw)
    if kind == "float":
        floats = casts.to_floats(raw)
        batch.check(
            casts.too_large(floats),
            Problem(
                column.field,
                f"column {plain(column.name)} is infinite or too large for float32 in $rows (first: $first)",
                "Replace these by real numbers or leave the cells empty.",
            ),
        )
        return floats.cast(pa.float32(), safe=False) if batch.usable else floats
    if kind == "floats":
        return _vectors(batch, column, raw)
    if kind == "int":
        return casts.to_seconds(raw)
    if kind == "strings":
        return casts.to_lists(raw, column.separator)
    # Request ids are ids as well, but may be missing.
    return casts.to_text(raw, whole_numbers=column.field.endswith(".request"))


def _vectors(batch: _Batch, column: Column, raw: pa.Array) -> pa.Array:
    """Lists of numbers, all of one length; a row without one is null."""
    vectors = casts.to_vectors(raw, column.separator)
    name, counts = plain(column.name), pc.list_value_length(vectors)
    batch.check(
        pc.not_equal(counts, column.width),
        Problem(
            column.field,
            f"column {name} has no {column.width} numbers in $rows (first: $first)",
            "Give every vector as many numbers as 'dimension' says, or none.",
        ),
    )
    floats = vectors.flatten()
    bad = pc.or_(casts.too_large(floats), floats.is_null())
    rows = np.repeat(np.arange(len(vectors)), counts.fill_null(0).to_numpy(zero_copy_only=False))
    hit = np.zeros(len(vectors), np.bool_)
    hit[rows[bad.to_numpy(zero_copy_only=False)]] = True
    batch.check(
        pa.array(hit),
        Problem(
            column.field,
            f"column {name} has a missing number, or one infinite or too large for float32, in $rows (first: $first)",
            "Replace these by real numbers or leave the whole vector out.",
        ),
    )
    return casts.lists_from(counts.fill_null(0).to_numpy(zero_copy_only=False), floats.cast(pa.float32(), safe=False))


def _labels(batch: _Batch, column: Column, plan: TablePlan, raw: pa.Array) -> pa.Array:
    if pa.types.is_string(raw.type) or pa.types.is_large_string(raw.type) or pa.types.is_binary(raw.type):
        words = pc.utf8_lower(casts.to_text(raw))
        words = pc.replace_substring_regex(words, "^true$", "1")
        raw = pc.replace_substring_regex(words, "^false$", "0")
    labels = casts.to_floats(raw)
    batch.check(labels.is_null(), _missing(column, plan, mend="Write 0 where nothing happened, or add"))
    other = pc.fill_null(pc.invert(pc.is_in(labels, value_set=pa.array([0.0, 1.0]))), False)
    other = pc.and_(other, labels.is_valid())
    if pc.any(other).as_py():
        examples = pc.unique(labels.filter(other))[:5].to_pylist()
        batch.check(
            other,
            Problem(
                column.field,
                f"label {plain(column.name)} is neither 0 nor 1 in $rows, such as $examples (first: $first)",
                "Write 1 where it happened and 0 where it did not.",
                examples=tuple(f"{value:g}" for value in examples),
            ),
        )
    return labels.cast(pa.float32(), safe=False)


def _grades(batch: _Batch, column: Column, plan: TablePlan, raw: pa.Array) -> pa.Array:
    grades, best = casts.to_floats(raw), column.grades.max_grade if column.grades is not None else 0
    batch.check(grades.is_null(), _missing(column, plan))
    known = pc.is_in(grades, value_set=pa.array([float(grade) for grade in range(best + 1)]))
    other = pc.and_(pc.invert(known), grades.is_valid())
    batch.check(
        other,
        Problem(
            column.field,
            f"column {plain(column.name)} is no whole grade from 0 to {best} in $rows, such as $examples "
            "(first: $first)",
            "Mend these rows, or raise max_grade.",
            examples=tuple(f"{value:g}" for value in pc.unique(grades.filter(other))[:5].to_pylist()),
        ),
    )
    return grades.cast(pa.float32(), safe=False)


def _check_times(batch: _Batch, column: Column, seconds: pa.Array) -> None:
    name = plain(column.name)
    batch.check(
        pc.less_equal(seconds, 0),
        Problem(
            column.field,
            f"column {name} is zero or negative in $rows (first: $first)",
            "Times are unix seconds or dates after 1970: mend these rows or drop them with a filter.",
        ),
    )
    now = int(time.time())
    future = pc.greater(seconds, now + _DAY)
    latest = pc.max(seconds, min_count=0).as_py() or 0
    if latest > now + _DAY:
        batch.check(
            future,
            Problem(
                column.field,
                f"column {name} lies in the future in $rows (largest: $worst, first: $first)",
                _future_mend(latest, now),
                worst=float(latest),
            ),
        )


def _future_mend(latest: int, now: int) -> str:
    for unit, per_second in (("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)):
        # Thirty years back to now: only one unit can put a time there.
        if now - 30 * 365 * _DAY < latest // per_second <= now + _DAY:
            return f"These look like {unit}: divide by {per_second:,} to get seconds."
    return "Times are unix seconds (UTC): mend these rows or drop them with a filter."


def _missing(column: Column, plan: TablePlan, mend: str = "Fill it in, or add") -> Problem:
    return Problem(
        column.field,
        f"column {plain(column.name)} is missing in $rows (first: $first)",
        f"{mend} {{column: {column.name}, op: present}} to {plan.field}.filters to drop such rows.",
    )


def _wrong_type(column: Column, error: casts.CastError) -> Problem:
    mends = {
        "UTF-8 text": "Write the file as UTF-8.",
        "a number": "Write numbers only, leave missing cells empty, or read the column as a category.",
    }
    mend = mends.get(error.expected, f"Make every value {error.expected}.")
    if error.expected.startswith("a list"):
        mend = "Store lists, or name what separates the values under separators."
    elif error.expected.startswith("text,"):
        mend = "Store one value per row."
    value = error.value.replace("$", "$$")
    text = f"column {plain(column.name)} holds {value}, which is not {error.expected} ($first)"
    return Problem(column.field, text, mend)
