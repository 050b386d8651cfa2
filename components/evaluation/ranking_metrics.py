r"""Metrics of ranked lists with binary relevance, one value per query.

For a query with relevant items :math:`R` and a list whose i-th item is relevant if :math:`h_i = 1`:

- recall@k :math:`= \sum_{i \le k} h_i / |R|`
- NDCG@k :math:`= \sum_{i \le k} h_i / \log_2(i + 1) \; / \sum_{i \le \min(|R|, k)} 1 / \log_2(i + 1)`
- hit rate@k is 1 if any of the first k is relevant, MRR@k is 1 / (rank of the first relevant one), else 0

A query without relevant items has no value: it is NaN in the result, and means must leave it out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossrec.components.evaluation.ragged import RaggedItems

Values = NDArray[np.float64]


def ranking_metrics(top_items: ArrayLike, relevant: RaggedItems, ks: Sequence[int]) -> dict[str, Values]:
    """Compute all ranking metrics of the same lists at several cut-offs.

    Args:
      top_items: int [Q, K], recommended item indices, best first, padded with -1 at the end. No item twice.
      relevant: Relevant items of each of the Q queries.
      ks: Cut-offs, each between 1 and K.

    Returns:
      ``recall@k``, ``ndcg@k``, ``hit_rate@k``, ``mrr@k`` for each k: float64 [Q], NaN if nothing is relevant.

    Raises:
      ValueError: If shapes differ, a cut-off is out of range, or a list holds an item twice.

    Example:
      >>> found = ranking_metrics([[3, 1, -1]], RaggedItems.from_lists([[1, 7]]), [2])
      >>> {name: float(values[0].round(3)) for name, values in found.items()}
      {'recall@2': 0.5, 'ndcg@2': 0.387, 'hit_rate@2': 1.0, 'mrr@2': 0.5}
    """
    hits = hit_matrix(top_items, relevant)
    counts = relevant.lengths
    result: dict[str, Values] = {}
    for k in ks:
        if not 1 <= k <= hits.shape[1]:
            raise ValueError(
                f"k: {k}, but top_items has {hits.shape[1]} columns; use a k from 1 to {hits.shape[1]}, or "
                "recommend "
                "longer lists (padded with -1)"
            )
        first = hits[:, :k]
        result[f"recall@{k}"] = _defined(first.sum(axis=1), counts)
        result[f"ndcg@{k}"] = _ndcg(first, counts)
        result[f"hit_rate@{k}"] = np.where(counts > 0, first.any(axis=1).astype(np.float64), np.nan)
        reciprocal = np.where(first.any(axis=1), 1.0 / (first.argmax(axis=1) + 1), 0.0)
        result[f"mrr@{k}"] = np.where(counts > 0, reciprocal, np.nan)
    return result


def recall_at_k(top_items: ArrayLike, relevant: RaggedItems, k: int) -> Values:
    """Compute the share of a query's relevant items among the first k; see ``ranking_metrics``."""
    return ranking_metrics(top_items, relevant, [k])[f"recall@{k}"]


def ndcg_at_k(top_items: ArrayLike, relevant: RaggedItems, k: int) -> Values:
    """Compute the normalised discounted cumulative gain of the first k; see ``ranking_metrics``."""
    return ranking_metrics(top_items, relevant, [k])[f"ndcg@{k}"]


def hit_rate_at_k(top_items: ArrayLike, relevant: RaggedItems, k: int) -> Values:
    """Compute whether any of the first k is relevant, as 0 or 1; see ``ranking_metrics``."""
    return ranking_metrics(top_items, relevant, [k])[f"hit_rate@{k}"]


def mrr_at_k(top_items: ArrayLike, relevant: RaggedItems, k: int) -> Values:
    """Compute the reciprocal rank of the first relevant item among the first k; see ``ranking_metrics``."""
    return ranking_metrics(top_items, relevant, [k])[f"mrr@{k}"]


def hit_matrix(top_items: ArrayLike, relevant: RaggedItems) -> NDArray[np.bool_]:
    """Mark the relevant items of each list.

    Args:
      top_items: int [Q, K], padded with -1.
      relevant: Relevant items of each of the Q queries; a repeated item counts once.

    Returns:
      bool [Q, K].

    Raises:
      ValueError: If the numbers of queries differ, or a list holds an item twice.
    """
    top = np.asarray(top_items)
    if top.ndim != 2 or not np.issubdtype(top.dtype, np.integer):
        raise ValueError(f"top_items: shape {top.shape}, type {top.dtype}; give integers of shape [queries, k]")
    if len(top) != len(relevant):
        raise ValueError(
            f"top_items: {len(top)} queries, but relevant has {len(relevant)}; give one list per query, in "
            "the same "
            "order"
        )
    _refuse_repetition(top)
    if top.size == 0 or len(relevant.items) == 0:
        return np.zeros(top.shape, dtype=bool)
    # (query, item) as one number, so that one sorted search serves all queries.
    stride = int(max(top.max(), relevant.items.max())) + 1
    wanted = np.unique(relevant.row_of_item * stride + relevant.items)
    asked = np.arange(len(top), dtype=np.int64)[:, None] * stride + top
    position = np.minimum(np.searchsorted(wanted, asked), len(wanted) - 1)
    hits: NDArray[np.bool_] = (wanted[position] == asked) & (top >= 0)
    return hits


def _refuse_repetition(top: NDArray[np.int64]) -> None:
    ordered = np.sort(top, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if repeated.any():
        row, column = (int(index[0]) for index in np.nonzero(repeated))
        raise ValueError(
            f"top_items: row {row} holds item {ordered[row, column]} more than once, which would count a "
            "hit twice; "
            "recommend every item once"
        )


def _defined(hits: NDArray[np.int64], counts: NDArray[np.int64]) -> Values:
    return np.where(counts > 0, hits / np.maximum(counts, 1), np.nan)


def _ndcg(hits: NDArray[np.bool_], counts: NDArray[np.int64]) -> Values:
    k = hits.shape[1]
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[1.0], np.cumsum(discount)])[np.minimum(counts, k)]
    return np.where(counts > 0, hits @ discount / ideal, np.nan)
