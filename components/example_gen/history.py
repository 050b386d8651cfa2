"""The recent items of a user as they were at the time of each row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crossrec.components.example_gen.casts import lists_from


def recent_items(
    users: npt.NDArray[Any],
    seconds: npt.NDArray[Any],
    positive: npt.NDArray[Any],
    items: pa.Array,
    max_length: int,
) -> pa.Array:
    """List, for every row, the items of the same user's positive rows at strictly earlier times.

    Rows of one moment share one list, so that nothing of a request leaks into its own rows. An item that
    occurs twice is listed twice.

    Args:
        users: Numbers of the users, [rows].
        seconds: Unix seconds, [rows]. Rows are sorted by user, then time.
        positive: Whether a row becomes part of the history, [rows].
        items: Item ids, [rows].
        max_length: How many items are listed at most.

    Returns:
        Array [rows] of lists of item ids, the most recent first; null where there is none.
    """
    rows = len(users)
    if rows == 0:
        return pa.array([], pa.list_(items.type))
    positive_rows = np.flatnonzero(positive)
    before = np.concatenate([[0], np.cumsum(positive)])
    new_user = np.concatenate([[True], users[1:] != users[:-1]])
    new_moment = new_user | np.concatenate([[True], seconds[1:] != seconds[:-1]])
    # Index of the first row of the user, or of the moment, that a row belongs to.
    index = np.arange(rows)
    user_start = np.maximum.accumulate(np.where(new_user, index, 0))
    moment_start = np.maximum.accumulate(np.where(new_moment, index, 0))
    end = before[moment_start]
    counts = np.minimum(end - before[user_start], max_length)
    starts = np.concatenate([[0], np.cumsum(counts)])
    step = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
    chosen = positive_rows[np.repeat(end, counts) - 1 - step]
    return lists_from(counts, items.take(pa.array(chosen)))
