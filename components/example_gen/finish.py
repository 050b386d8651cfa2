"""The last step on a partition of a table: order, history, splits, duplicates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from crossrec.components.example_gen import history, id_split, time_split
from crossrec.components.example_gen.config import INTERACTION_LABEL, NO_TIME, RECENT_ITEMS, History
from crossrec.components.example_gen.prepare import ORDER
from crossrec.components.example_gen.problems import Problem
from crossrec.components.example_gen.report import SplitReport
from crossrec.components.example_gen.split import SplitConfig
from crossrec.components.example_gen.summary import Summary
from crossrec.components.example_gen.table import TablePlan


@dataclasses.dataclass(frozen=True)
class Tally:
    """What was written.

    Attributes:
        splits: Rows and time range of each split.
        keys: Number of distinct ids of the partitioning column.
        duplicates: The problem of duplicate ids, if they are refused.
        repeats: Number of rows left out because they come after a positive of the same user and item.
    """

    splits: dict[str, SplitReport] = dataclasses.field(default_factory=dict)
    keys: int = 0
    duplicates: Problem | None = None
    repeats: int = 0

    @classmethod
    def merge(cls, tallies: Iterable[Tally]) -> Tally:
        """Join what several partitions wrote; the order does not matter."""
        splits: dict[str, SplitReport] = {}
        keys, duplicates, repeats = 0, None, 0
        for tally in tallies:
            for name, split in tally.splits.items():
                splits[name] = splits[name].merge(split) if name in splits else split
            keys += tally.keys
            repeats += tally.repeats
            if tally.duplicates is not None:
                duplicates = tally.duplicates if duplicates is None else duplicates.merge(tally.duplicates)
        return cls(splits, keys, duplicates, repeats)


class Finish(Protocol):
    """Turns the prepared rows of one partition into the rows of each split."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        ...

    def __call__(self, table: pa.Table, summary: Summary) -> tuple[dict[str, pa.Table], Tally]:
        """Finish a partition.

        Args:
            table: Prepared rows in any order, with the column `ORDER`.
            summary: Counts over the whole table.

        Returns:
            Rows of each split, and what is in them.
        """
        ...


@dataclasses.dataclass(frozen=True)
class FinishItems:
    """One row per item, sorted by id."""

    plan: TablePlan
    duplicates: str
    splits: tuple[str, ...] = ("train",)

    def __call__(self, table: pa.Table, summary: Summary) -> tuple[dict[str, pa.Table], Tally]:
        """See `Finish`."""
        table = table.take(pc.sort_indices(table, [(self.plan.key, "ascending"), (ORDER, "ascending")]))
        ids = table.column(self.plan.key).combine_chunks()
        repeats = np.zeros(len(ids), np.bool_)
        repeats[1:] = pc.equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
        problem = None
        if repeats.any():
            if self.duplicates == "error":
                problem = _duplicates(ids.filter(pa.array(repeats)))
            surplus = np.append(repeats[1:], False) if self.duplicates == "last" else repeats
            table = table.filter(pa.array(~surplus))
        tally = Tally({"train": SplitReport(rows=table.num_rows)}, table.num_rows, problem)
        return {"train": table.drop([ORDER])}, tally


@dataclasses.dataclass(frozen=True)
class FinishInteractions:
    """Every row, with its user's recent items, sorted by user and time, divided by time or by ids."""

    plan: TablePlan
    split: SplitConfig
    history: History | None
    history_label: str | None
    drop_repeats: bool = False
    splits: tuple[str, ...] = time_split.SPLITS

    def __call__(self, table: pa.Table, summary: Summary) -> tuple[dict[str, pa.Table], Tally]:
        """See `Finish`."""
        # The plan's order: user, item.
        user, item = (column.name for column in self.plan.columns[:2])
        timestamp = self.plan.role("timestamp")
        if timestamp is None:
            table = table.append_column(NO_TIME, pa.array(np.zeros(table.num_rows, np.int64)))
        users, distinct = _ranks(table.column(user))
        seconds = table.column(timestamp or NO_TIME).to_numpy()
        order = np.lexsort((table.column(ORDER).to_numpy(), seconds, users))
        table, users, seconds = table.take(pa.array(order)).combine_chunks(), users[order], seconds[order]
        table = table.drop([ORDER])
        if not self.plan.of_kind("label"):
            table = table.append_column(INTERACTION_LABEL, pa.array(np.ones(len(users), np.float32)))
        repeats = 0
        if self.drop_repeats:
            positive = table.column(self.history_label or INTERACTION_LABEL).to_numpy() > 0
            items, _ = _ranks(table.column(item))
            kept = np.flatnonzero(~_after_positive(users, items, positive))
            repeats = len(users) - len(kept)
            table, users, seconds = table.take(pa.array(kept)).combine_chunks(), users[kept], seconds[kept]
        if self.history is not None:
            label = self.history_label or INTERACTION_LABEL
            positive = table.column(label).to_numpy() > 0
            items = table.column(item).combine_chunks()
            recent = history.recent_items(users, seconds, positive, items, self.history.max_length)
            table = table.append_column(RECENT_ITEMS, recent)
        if self.split.by == "time":
            places = time_split.assign(seconds, time_split.find_cuts(self.split, summary.times))
        else:
            places = id_split.assign([table.column(name) for name in self._split_columns()], self.split)
        tables, reports = {}, {}
        for index, name in enumerate(self.splits):
            rows = np.flatnonzero(places == index)
            if len(rows):
                tables[name] = table.take(pa.array(rows))
                times = seconds[rows] if timestamp is not None else None
                reports[name] = SplitReport(
                    rows=len(rows),
                    first=None if times is None else int(times.min()),
                    last=None if times is None else int(times.max()),
                )
        return tables, Tally(reports, distinct, repeats=repeats)

    def _split_columns(self) -> list[str]:
        """The ids that keep rows on one side, the next one where one is missing."""
        user, request = self.plan.key, self.plan.role("request")
        return [request, user] if self.split.by == "request" and request is not None else [user]


def _after_positive(
    users: npt.NDArray[Any], items: npt.NDArray[Any], positive: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Whether an earlier row of the same user and item is a positive; rows are in the order of time."""
    _, pairs = np.unique(np.stack([users, items]), axis=1, return_inverse=True)
    first = np.full(pairs.max(initial=-1) + 1, len(pairs))
    np.minimum.at(first, pairs[positive], np.flatnonzero(positive))
    after: npt.NDArray[np.bool_] = np.arange(len(pairs)) > first[pairs]
    return after


def _ranks(column: pa.ChunkedArray) -> tuple[npt.NDArray[Any], int]:
    """Rank ids in the order of their bytes, so that rows come out the same however they came in."""
    encoded = column.combine_chunks().dictionary_encode()
    positions = pc.sort_indices(encoded.dictionary).to_numpy()
    ranks = np.empty(len(positions), np.int64)
    ranks[positions] = np.arange(len(positions))
    return ranks[encoded.indices.to_numpy()], len(positions)


def _duplicates(ids: pa.Array) -> Problem:
    return Problem(
        "data.items.item",
        "$rows too many: several rows have one item id, such as $examples",
        "Remove them, or write duplicates: first or duplicates: last to keep one row per item.",
        rows=len(ids),
        examples=tuple(pc.unique(ids)[:5].to_pylist()),
    )
