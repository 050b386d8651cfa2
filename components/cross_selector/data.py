"""The sample that crosses are searched on: columns of small ids in the order of time, and the tasks to explain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossrec.components.errors import DataError
from crossrec.components.features.crosses import PADDING

Array = np.ndarray[Any, Any]
CHUNK = 2**17
"""Rows that are indexed at a time, so that what a candidate needs beside the sample stays in the cache."""


_NEW = 2**40
"""Stands for ids that only the confirmation block has: no transformed id is that large."""


@dataclass(frozen=True)
class Rows:
    """Rows as they come, before they are ordered by time.

    Attributes:
        columns: int ids by feature, ``[n]`` or ``[n, width]``; -1 is padding of a multi-valued feature.
        labels: 0 or 1 by label, ``[n]``.
        times: Seconds, ``[n]``.
        users: Any int that tells users apart, ``[n]``.
        keys: Any int that says where in its second a row stands, ``[n]``; it makes the order that of the rows' content.
        nuisances: int ids of what moves labels but is no candidate (the position in the list), ``[n]``.
    """

    columns: Mapping[str, Array]
    labels: Mapping[str, Array]
    times: Array
    users: Array
    keys: Array
    nuisances: Mapping[str, Array]


@dataclass(frozen=True)
class Task:
    """One label on the rows where it can be 1, in three blocks of time.

    Attributes:
        label: The label.
        columns: ids by feature, ``[n]`` or ``[n, width]``, below ``sizes``; -1 is padding.
        labels: float64 ``[n]``.
        users: int32 ``[n]``, the same numbers in all tasks.
        ends: First row behind the fitting, the selection and the confirmation block.
    """

    label: str
    columns: Mapping[str, Array]
    labels: Array
    users: Array
    ends: tuple[int, int, int]

    def block(self, number: int) -> slice:
        """Rows of the fitting (0), the selection (1) or the confirmation block (2)."""
        return slice(0 if number == 0 else self.ends[number - 1], self.ends[number])


@dataclass(frozen=True)
class Sample:
    """All tasks over one set of columns.

    Attributes:
        tasks: The labels; of a funnel (each purchase is a click), each on the positives of the one before, so
            that their log losses add up to that of all labels together.
        sizes: Ids by column, candidates and nuisances.
        original: By candidate, the id in the transformed data of each id here, int64 ``[size]``; id 0 here is
            every id that only the confirmation block has.
        candidates: The features that may be crossed.
        rows: Rows of the selection and of the confirmation block in the first task, which gains are divided by.
        users: Number of users.
    """

    tasks: tuple[Task, ...]
    sizes: Mapping[str, int]
    original: Mapping[str, Array]
    candidates: tuple[str, ...]
    rows: tuple[int, int, int]
    users: int


def make_sample(rows: Rows, blocks: tuple[float, float] = (0.6, 0.2)) -> Sample:
    """Orders rows by time, cuts them into blocks, and gives every column ids without gaps.

    Args:
        rows: The rows.
        blocks: Share of the fitting and of the selection block; the rest confirms.

    Raises:
        DataError: All rows are of one time, or a block has no positive or no negative row.
    """
    order = np.lexsort((rows.keys, rows.users, rows.times))
    times = rows.times[order]
    ends = tuple(_border(times, share) for share in (blocks[0], blocks[0] + blocks[1]))
    ends = (*ends, len(times))
    if not 0 < ends[0] < ends[1] < ends[2]:
        raise DataError(
            "crosses.auto",
            f"the {len(times):,} rows of the training split lie at too few moments to be cut into three blocks of time",
            "Give a timestamp that tells them apart, or name the crosses under 'explicit'.",
        )
    columns, sizes, original = {}, {}, {}
    for name, values in {**rows.columns, **rows.nuisances}.items():
        columns[name], original[name] = _without_gaps(values[order], ends[1])
        sizes[name] = len(original[name])
    users = np.unique(rows.users[order], return_inverse=True)[1].astype(np.int32)
    tasks, kept = [], np.arange(len(times))
    for label in funnel(rows.labels):
        values = rows.labels[label][order].astype(np.float64)[kept]
        everything = len(kept) == len(times)
        tasks.append(
            Task(
                label,
                columns if everything else {name: column[kept] for name, column in columns.items()},
                values,
                users[kept],
                (int(np.searchsorted(kept, ends[0])), int(np.searchsorted(kept, ends[1])), len(kept)),
            )
        )
        kept = kept[values > 0] if _is_funnel(rows.labels) else kept
    tasks = [task for task in tasks if _varies(task)]
    if not tasks:
        raise DataError(
            "crosses.auto",
            f"no label of {', '.join(rows.labels)} has both values in each of three blocks of time",
            "Give more rows, or name the crosses under 'explicit'.",
        )
    return Sample(
        tuple(tasks),
        sizes,
        original,
        tuple(rows.columns),
        (ends[0], ends[1] - ends[0], ends[2] - ends[1]),
        int(users.max()) + 1,
    )


def funnel(labels: Mapping[str, Array]) -> list[str]:
    """The labels, the most frequent first; equally frequent ones by name."""
    return sorted(labels, key=lambda label: (-float(labels[label].sum()), label))


def _is_funnel(labels: Mapping[str, Array]) -> bool:
    """Whether each positive of a label is one of the next more frequent label."""
    order = funnel(labels)
    return all(not np.any((labels[b] > 0) & ~(labels[a] > 0)) for a, b in zip(order, order[1:]))


def _varies(task: Task) -> bool:
    blocks = [task.labels[task.block(number)] for number in range(3)]
    return all(0 < values.sum() < len(values) for values in blocks)


def _border(times: Array, share: float) -> int:
    """Where a share of the rows ends, moved to the nearest change of time, so that no moment lies in two blocks."""
    at = int(round(share * len(times)))
    low, high = (int(np.searchsorted(times, times[min(at, len(times) - 1)], side)) for side in ("left", "right"))
    return low if at - low <= high - at else high


def _without_gaps(values: Array, fitted: int) -> tuple[Array, Array]:
    """Ids of a column as 1… in their order, 0 for those that the first rows do not have, in the smallest integers."""
    seen = np.unique(values[:fitted])
    seen = seen[seen != PADDING]
    original = np.concatenate([[_NEW], seen]).astype(np.int64)
    kind = np.min_scalar_type(-max(len(original), 2))
    out = np.empty(values.shape, kind)
    for start in range(0, len(values), CHUNK):
        part = values[start : start + CHUNK]
        at = np.searchsorted(seen, part)
        known = seen[np.minimum(at, len(seen) - 1)] == part if len(seen) else np.zeros(part.shape, bool)
        out[start : start + CHUNK] = np.where(part == PADDING, PADDING, np.where(known, at + 1, 0))
    return out, original
