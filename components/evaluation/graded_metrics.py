r"""NDCG of lists whose rows have grades.

.. math:: NDCG@k = \frac{\sum_{i \le k} G_i / \log_2(i + 1)}{\text{the same in the best order}}

where :math:`G_i` is the gain of the row at rank i: of grade g :math:`2^g - 1`, or g (Järvelin and Kekäläinen 2002,
"Cumulated gain-based evaluation of IR techniques"; Burges et al. 2005, "Learning to Rank using Gradient Descent").

Rows of one score may stand in any order, so NDCG is the mean over these orders: each gets the mean gain of the tied
rows (McSherry and Najork 2008, "Computing Information Retrieval Performance Measures Efficiently in the Presence of
Tied Scores"). A model that scores all rows the same is then no better than chance.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Gain = Literal["exponential", "linear"]


def graded_ndcg(
    scores: ArrayLike, grades: ArrayLike, lists: ArrayLike, k: int, gain: Gain = "exponential"
) -> NDArray[np.float64]:
    """Compute the NDCG of every list.

    Args:
      scores: [N], larger is better, no NaN.
      grades: [N], from 0.
      lists: [N], the list of each row.
      k: Ranks that count, from 1.
      gain: What a grade is worth.

    Returns:
      float64 [L], in the order of the lists' ids; NaN for a list without any gain.

    Raises:
      ValueError: If shapes differ, k is below 1, a score is NaN or a grade is below 0.

    Example:
      >>> graded_ndcg([0.9, 0.5, 0.1], [0, 3, 1], [7, 7, 7], k=10).round(4).tolist()
      [0.6443]
    """
    score, grade = np.asarray(scores, np.float64), np.asarray(grades, np.float64)
    _, number = np.unique(np.asarray(lists), return_inverse=True)
    if not score.shape == grade.shape == number.shape or score.ndim != 1:
        raise ValueError(
            f"scores, grades and lists: shapes {score.shape}, {grade.shape} and {number.shape}; give three flat arrays "
            "of one length"
        )
    if k < 1:
        raise ValueError(f"k: {k}; ranks begin with 1")
    if np.isnan(score).any() or (grade < 0).any():
        raise ValueError("scores or grades: a score is NaN or a grade below 0; mend the model or the judgments")
    gains = 2.0**grade - 1.0 if gain == "exponential" else grade
    count = int(number.max(initial=-1)) + 1
    best = np.lexsort((-gains, number))
    order = np.lexsort((-score, number))
    discounts = _discounts(number[order], k)
    # Ordered either way, row by row the lists are the same.
    ideal = np.bincount(number[best], gains[best] * discounts, count) if count else np.zeros(0)
    # Ties are runs of rows of one list and one score: all of them have the mean of their gains.
    ordered, listed = score[order], number[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (listed[1:] != listed[:-1]) | (ordered[1:] != ordered[:-1])
    tie = np.cumsum(fresh) - 1
    means = np.bincount(tie, gains[order]) / np.bincount(tie) if len(tie) else np.zeros(0)
    found = np.bincount(listed, means[tie] * discounts, count) if count else np.zeros(0)
    return np.divide(found, ideal, out=np.full(count, np.nan), where=ideal > 0)


def mean_ndcg(scores: ArrayLike, grades: ArrayLike, lists: ArrayLike, k: int, gain: Gain = "exponential") -> float:
    """Compute the mean NDCG over the lists that have any gain; NaN if none has. Arguments as of ``graded_ndcg``."""
    values = graded_ndcg(scores, grades, lists, k, gain)
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")


def _discounts(number: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 / log2(1 + rank) of rows that are ordered by list, 0 behind rank k."""
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    sizes = np.diff(np.append(starts, len(number)))
    ranks = np.arange(len(number)) - np.repeat(starts, sizes) + 1
    return np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0)
