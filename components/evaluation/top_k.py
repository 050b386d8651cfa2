"""Choice of the best k of many scores, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossrec.components.evaluation.ragged import RaggedItems


def top_k_items(scores: NDArray[np.float64], k: int, excluded: RaggedItems) -> NDArray[np.int64]:
    """Choose the k best items of each row; among equal scores the lower index wins.

    Args:
      scores: float [Q, I]; -inf for items that cannot be recommended. No NaN.
      k: Length of the lists.
      excluded: Items of each of the Q rows that must not appear.

    Returns:
      int64 [Q, k], best first, padded with -1 where fewer than k items are eligible.

    Raises:
      ValueError: If k is below 1, shapes differ, or an excluded item does not exist.
    """
    rows, items = scores.shape
    if k < 1:
        raise ValueError(f"k: {k}; ask for at least one item")
    if len(excluded) != rows:
        raise ValueError(f"excluded: {len(excluded)} rows, but scores has {rows}; give one list per row")
    if len(excluded.items) and excluded.items.max() >= items:
        raise ValueError(f"excluded: holds item {excluded.items.max()}; items go from 0 to {items - 1}")
    eligible = np.array(scores, dtype=np.float64)
    eligible[excluded.row_of_item, excluded.items] = -np.inf
    depth = min(k, items)
    # Partition finds the k-th best score but breaks ties at will: so take the scores above it, and then as
    # many of those equal to it as are missing, from the left.
    threshold = np.partition(eligible, items - depth, axis=1)[:, items - depth, None]
    above = eligible > threshold
    equal = eligible == threshold
    missing = depth - above.sum(axis=1, keepdims=True)
    chosen = above | (equal & (np.cumsum(equal, axis=1) <= missing))
    candidates = np.nonzero(chosen)[1].reshape(rows, depth)
    chosen_scores = np.take_along_axis(eligible, candidates, axis=1)
    order = np.argsort(-chosen_scores, axis=1, kind="stable")
    best = np.take_along_axis(candidates, order, axis=1)
    best[np.take_along_axis(chosen_scores, order, axis=1) == -np.inf] = -1
    return np.pad(best, ((0, 0), (0, k - depth)), constant_values=-1)
