"""Judges the counts of a whole table: what no single batch can see."""

from __future__ import annotations

import datetime

from crossrec.components.errors import DataError
from crossrec.components.example_gen.split import SplitConfig
from crossrec.components.example_gen.summary import OUTSIDE_WINDOW, UNKNOWN_ITEM, Summary
from crossrec.components.example_gen.table import TablePlan
from crossrec.components.example_gen.time_split import SPLITS, find_cuts


def judge_rows(summary: Summary, plan: TablePlan) -> list[DataError]:
    """Say what is wrong with the rows that were read.

    Args:
        summary: Counts over the whole table.
        plan: How it was read.

    Returns:
        Errors, the most important first; none if the table can be used.
    """
    errors = list(summary.errors)
    errors += [summary.problems[key].error() for key in sorted(summary.problems)]
    if errors:
        return errors
    if summary.rows_read == 0:
        return [DataError(f"{plan.field}.path", "the table has a header but no rows", "Name a table with rows.")]
    if summary.rows_kept == 0:
        return [_nothing_left(summary, plan)]
    for name, present in summary.present.items():
        if present == 0:
            field = next(column.field for column in plan.columns if column.name == name)
            errors.append(
                DataError(
                    field,
                    f"column {name!r} is empty (missing or NaN) in all {summary.rows_kept:,} rows",
                    "Fill it, or leave it out of the spec.",
                )
            )
    if plan.field == "data.interactions":
        errors += _judge_interactions(summary, plan)
    return errors


def judge_splits(rows: dict[str, int], summary: Summary, split: SplitConfig) -> list[DataError]:
    """Say which splits are empty.

    Args:
        rows: Split name to its number of rows.
        summary: Counts over the whole table.
        split: What the spec says.

    Returns:
        Errors; none if every split has rows.
    """
    empty = [name for name in SPLITS if not rows.get(name)]
    if not empty:
        return []
    if split.by != "time":
        return [
            DataError(
                "data.split",
                f"{' and '.join(empty)} would be empty: no {split.by} of {sum(rows.values()):,} rows falls there",
                f"Give larger fractions, data of more {split.by}s, or another seed.",
            )
        ]
    first, last = summary.times.first or 0, summary.times.last or 0
    cuts = find_cuts(split, summary.times)
    field = {"train": "validation_from", "validation": "validation_from", "test": "test_from"}[empty[0]]
    mend = "Choose moments inside this range."
    if split.cuts is None:
        field = field.replace("_from", "_days" if split.test_days is not None else "")
        mend = "Choose other days, or dates." if split.test_days is not None else "Choose other fractions, or dates."
    return [
        DataError(
            f"data.split.{field}",
            f"{' and '.join(empty)} would be empty: validation begins {_moment(cuts[0])} and test "
            f"{_moment(cuts[1])}, and the interactions run from {_moment(first)} to {_moment(last)}",
            mend,
        )
    ]


def _nothing_left(summary: Summary, plan: TablePlan) -> DataError:
    dropped = "; ".join(f"{condition}: {rows:,}" for condition, rows in summary.dropped.items() if rows)
    field, mend = f"{plan.field}.filters", "Loosen the condition that drops the most."
    if summary.outside is not None and summary.dropped.get(OUTSIDE_WINDOW) == summary.rows_read:
        first, last = (_moment(moment) for moment in summary.outside)
        return DataError(
            f"{plan.field}.window",
            f"none of {summary.rows_read:,} rows lies in it; they run from {first} to {last}",
            "Name days among these, with --since and --until or in the window.",
        )
    if max(summary.dropped, key=summary.dropped.__getitem__) == UNKNOWN_ITEM:
        field, mend = f"{plan.field}.item", "Check that data.items.item names the same ids."
    return DataError(field, f"none of {summary.rows_read:,} rows is left (dropped: {dropped})", mend)


def _judge_interactions(summary: Summary, plan: TablePlan) -> list[DataError]:
    errors = []
    if summary.keys is not None and summary.keys[0] == summary.keys[1]:
        errors.append(
            DataError(
                f"{plan.field}.user",
                f"all {summary.rows_kept:,} rows of column {plan.key!r} name one user, {summary.keys[0]!r}",
                "Name the column that tells users apart, or give data of more users.",
            )
        )
    for label, positives in summary.positives.items():
        if positives in (0, summary.rows_kept):
            value = 1 if positives else 0
            column = next(column for column in plan.columns if column.name == label)
            mend = "A model cannot learn from it: give rows of both kinds, or leave the label out."
            if column.source is not None:
                mend = "Choose a grade that some rows reach and others do not."
            problem = f"label {label!r} is {value} in all {summary.rows_kept:,} rows"
            errors.append(DataError(column.field, problem, mend))
    return errors


def _moment(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
