"""What the readers of a table counted, in a form that merges in any order and stays small."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from crossrec.components.errors import DataError
from crossrec.components.example_gen.problems import Problem
from crossrec.components.example_gen.table import TablePlan
from crossrec.components.example_gen.time_split import TimeCounts

UNKNOWN_ITEM = "unknown item"
"""What the report calls rows that were dropped because their item is not in the catalogue."""

OUTSIDE_WINDOW = "outside the window"
"""What the report calls rows that were dropped because their time is not in the window."""


@dataclasses.dataclass
class Summary:
    """Counts over the rows of a table.

    Attributes:
        rows_read: Rows in the files.
        rows_kept: Rows that met all conditions.
        dropped: Condition to the number of rows that it dropped; a row counts for the first that drops it.
        positives: Label to the number of rows where it is 1.
        present: Feature column to the number of rows that have a value.
        keys: Smallest and largest id of the partitioning column; equal if there is only one.
        times: How many rows there are at which time.
        outside: First and last unix second of the rows that lie outside the window.
        items_seen: One bit per item of the catalogue: whether an interaction has it.
        problems: What is wrong, by field and text.
        errors: Files that could not be read.
    """

    rows_read: int = 0
    rows_kept: int = 0
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    positives: dict[str, int] = dataclasses.field(default_factory=dict)
    present: dict[str, int] = dataclasses.field(default_factory=dict)
    keys: tuple[str, str] | None = None
    times: TimeCounts = dataclasses.field(default_factory=TimeCounts)
    outside: tuple[int, int] | None = None
    items_seen: npt.NDArray[Any] | None = None
    problems: dict[tuple[str, str], Problem] = dataclasses.field(default_factory=dict)
    errors: tuple[DataError, ...] = ()

    def add(self, problem: Problem) -> None:
        """Note a problem."""
        key = (problem.field, problem.text)
        present = self.problems.get(key)
        self.problems[key] = problem if present is None else present.merge(problem)

    def drop(self, condition: str, rows: int) -> None:
        """Note how many rows a condition dropped, also if none."""
        self.dropped[condition] = self.dropped.get(condition, 0) + rows

    def leave_outside(self, seconds: npt.NDArray[Any]) -> None:
        """Note the rows that lie outside the window.

        Args:
            seconds: Their unix seconds, [rows].
        """
        self.drop(OUTSIDE_WINDOW, len(seconds))
        if len(seconds):
            self._widen_outside((int(seconds.min()), int(seconds.max())))

    def see_items(self, positions: npt.NDArray[Any], catalogue_size: int) -> None:
        """Note which items of the catalogue occur.

        Args:
            positions: Positions in the catalogue, [rows].
            catalogue_size: Number of items of the catalogue.
        """
        seen = np.zeros(catalogue_size, np.bool_)
        seen[positions] = True
        packed = np.packbits(seen)
        self.items_seen = packed if self.items_seen is None else self.items_seen | packed

    def count(self, batch: pa.RecordBatch, plan: TablePlan) -> None:
        """Count the rows of a prepared batch.

        Args:
            batch: The batch, [rows].
            plan: What its columns are.
        """
        if batch.num_rows == 0:
            return
        self.rows_kept += batch.num_rows
        ends = pc.min_max(batch.column(plan.key)).as_py()
        self._widen((ends["min"], ends["max"]))
        for column in plan.columns:
            values = batch.column(column.name)
            if column.kind == "label":
                _increase(self.positives, {column.name: int(pc.sum(values).as_py())})
            elif column.kind == "time":
                self.times.add(values.to_numpy())
            elif column.kind != "id":
                _increase(self.present, {column.name: len(values) - values.null_count})

    @property
    def items(self) -> int:
        """Number of items of the catalogue that occur."""
        return 0 if self.items_seen is None else int(np.unpackbits(self.items_seen).sum())

    @classmethod
    def merge(cls, summaries: Iterable[Summary]) -> Summary:
        """Join the counts of several readers; the order does not matter."""
        merged = cls()
        for other in summaries:
            merged.rows_read += other.rows_read
            merged.rows_kept += other.rows_kept
            _increase(merged.dropped, other.dropped)
            _increase(merged.positives, other.positives)
            _increase(merged.present, other.present)
            merged._widen(other.keys)
            merged.times.merge(other.times)
            merged._widen_outside(other.outside)
            if other.items_seen is not None:
                seen = merged.items_seen
                merged.items_seen = other.items_seen if seen is None else seen | other.items_seen
            for problem in other.problems.values():
                merged.add(problem)
            merged.errors += other.errors
        return merged

    def _widen_outside(self, ends: tuple[int, int] | None) -> None:
        if ends is not None:
            known = ends if self.outside is None else self.outside
            self.outside = (min(known[0], ends[0]), max(known[1], ends[1]))

    def _widen(self, keys: tuple[str, str] | None) -> None:
        if keys is not None:
            ends = keys if self.keys is None else self.keys
            # By bytes, as Arrow orders text.
            self.keys = (min(ends[0], keys[0], key=str.encode), max(ends[1], keys[1], key=str.encode))


def _increase(counts: dict[str, int], by: dict[str, int]) -> None:
    for name, number in by.items():
        counts[name] = counts.get(name, 0) + number
