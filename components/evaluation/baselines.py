"""Baselines that a learned model has to beat: popularity, item-based collaborative filtering, EASE^R."""

from __future__ import annotations

from typing import Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossrec.components.evaluation.ragged import RaggedItems
from crossrec.components.evaluation.top_k import top_k_items

EASE_MAX_ITEMS = 20_000
_SCORES_PER_CHUNK = 8_000_000

Histories = Union[RaggedItems, Any]


class Popularity:
    """Recommends to everyone what most users interacted with.

    Args:
      item_counts: [I], number of users (or interactions) of each item in the training data.

    Example:
      >>> Popularity([5, 9, 7]).recommend(RaggedItems.from_lists([[1], []]), k=2).tolist()
      [[2, 0], [1, 2]]
    """

    def __init__(self, item_counts: ArrayLike) -> None:
        self._scores = np.asarray(item_counts, dtype=np.float64)

    @classmethod
    def fit(cls, train: Any) -> Popularity:
        """Count the users of each item.

        Args:
          train: scipy sparse [U, I]; every non-zero entry counts once.

        Returns:
          The baseline.
        """
        return cls(np.bincount(RaggedItems.from_sparse(train).items, minlength=train.shape[1]))

    def recommend(self, history: Histories, k: int, excluded: RaggedItems | None = None) -> NDArray[np.int64]:
        """Recommend k items to each row.

        Args:
          history: Items of each of Q users: ``RaggedItems`` or scipy sparse [Q, I].
          k: Length of the lists.
          excluded: Items that must not be recommended, Q rows; the history if left out.

        Returns:
          int64 [Q, k], best first, padded with -1.
        """
        excluded = _excluded(history, excluded)
        lists = [
            top_k_items(np.broadcast_to(self._scores, (len(part), len(self._scores))), k, part)
            for part in _chunks(excluded, len(self._scores))
        ]
        return np.concatenate([np.empty((0, k), np.int64), *lists])


class _LinearModel:
    """Scores of a user are their row of the interaction matrix times an item-to-item matrix."""

    def __init__(self, weights: Any) -> None:
        self._weights = weights

    def recommend(self, history: Histories, k: int, excluded: RaggedItems | None = None) -> NDArray[np.int64]:
        """Recommend k items to each row.

        Args:
          history: Items of each of Q users: ``RaggedItems``, or scipy sparse [Q, I] with counts or ones. They
            need not be users of the training data.
          k: Length of the lists.
          excluded: Items that must not be recommended, Q rows; the history if left out.

        Returns:
          int64 [Q, k], best first, padded with -1.
        """
        items = self._weights.shape[0]
        rows = _to_csr(history, items)
        lists, start = [], 0
        for part in _chunks(_excluded(history, excluded), items):
            scores = rows[start : start + len(part)] @ self._weights
            lists.append(top_k_items(np.asarray(scores.toarray() if hasattr(scores, "toarray") else scores), k, part))
            start += len(part)
        return np.concatenate([np.empty((0, k), np.int64), *lists])


class ItemCF(_LinearModel):
    """Item-based collaborative filtering with cosine similarity.

    Sarwar et al. 2001, Item-based collaborative filtering recommendation algorithms.
    """

    @classmethod
    def fit(cls, train: Any, neighbours: int | None = None) -> ItemCF:
        """Compute the similarity of all items that share a user.

        Args:
          train: scipy sparse [U, I], ones or counts.
          neighbours: How many of its most similar items may speak for an item; all if left out. A few dozen
            are often much better than all.

        Returns:
          The baseline.

        Raises:
          ValueError: If ``neighbours`` is below 1.
        """
        if neighbours is not None and neighbours < 1:
            raise ValueError(f"neighbours: {neighbours}; use at least 1, or leave it out for all")
        sparse = _scipy_sparse()
        matrix = _to_csr(train, train.shape[1])
        norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel())
        unit = matrix @ sparse.diags(1.0 / np.where(norms > 0, norms, 1.0))
        similarity = (unit.T @ unit).tocsr()
        similarity = (similarity - sparse.diags(similarity.diagonal())).tocsr()
        similarity.eliminate_zeros()
        if neighbours is not None:
            similarity = _keep_largest(similarity, neighbours)
        # Column j holds the items that speak for j.
        return cls(similarity.T.tocsr())


class Ease(_LinearModel):
    r"""EASE^R: the closed-form linear autoencoder with a zero diagonal.

    With :math:`P = (X^T X + \\lambda I)^{-1}` the weights are :math:`B_{ij} = -P_{ij} / P_{jj}`, and
    :math:`B_{jj} = 0`. Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data.
    """

    @classmethod
    def fit(cls, train: Any, l2: float = 300.0) -> Ease:
        """Solve for the weights, with a dense inverse of I by I numbers.

        Args:
          train: scipy sparse [U, I], ones or counts.
          l2: Strength of the regularisation, the paper's lambda.

        Returns:
          The baseline.

        Raises:
          ValueError: If there are more than 20,000 items (which take over 6 GB), or l2 is not positive.
        """
        items = train.shape[1]
        if items > EASE_MAX_ITEMS:
            raise ValueError(
                f"train: {items} items, but EASE^R inverts a dense matrix and is limited to "
                f"{EASE_MAX_ITEMS}; keep "
                "the most frequent items, or compare with ItemCF"
            )
        if not l2 > 0:
            raise ValueError(f"l2: {l2}; without regularisation the matrix may have no inverse, use e.g. 300")
        matrix = _to_csr(train, items)
        gram = (matrix.T @ matrix).toarray()
        gram[np.diag_indices(items)] += l2
        inverse = np.linalg.inv(gram)
        del gram
        inverse /= -np.diag(inverse).copy()
        np.fill_diagonal(inverse, 0.0)
        return cls(inverse)

    @property
    def weights(self) -> NDArray[np.float64]:
        """B, float64 [I, I]: how much an interaction with the row's item speaks for the column's."""
        weights: NDArray[np.float64] = self._weights
        return weights


def _scipy_sparse() -> Any:
    try:
        import scipy.sparse
    except ImportError as error:
        raise ImportError(
            "scipy: is not installed, and ItemCF and EASE^R need it; pip install 'crossrec[dev]', or use popularity"
        ) from error
    return scipy.sparse


def _to_csr(history: Histories, items: int) -> Any:
    sparse = _scipy_sparse()
    if isinstance(history, RaggedItems):
        ones = np.ones(len(history.items))
        return sparse.csr_matrix((ones, history.items, history.offsets), shape=(len(history), items))
    if history.shape[1] != items:
        raise ValueError(
            f"history: {history.shape[1]} columns, but the baseline was fitted on {items} items; use the "
            "same item indices"
        )
    return sparse.csr_matrix(history, dtype=np.float64)


def _excluded(history: Histories, excluded: RaggedItems | None) -> RaggedItems:
    if excluded is not None:
        return excluded
    return history if isinstance(history, RaggedItems) else RaggedItems.from_sparse(history)


def _chunks(rows: RaggedItems, items: int) -> list[RaggedItems]:
    """Parts whose dense scores fit into some tens of megabytes."""
    size = max(1, _SCORES_PER_CHUNK // max(items, 1))
    return [rows.rows(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]


def _keep_largest(similarity: Any, count: int) -> Any:
    """Keep the largest entries of each row of a CSR matrix; among equal ones those with the lower column."""
    similarity.sort_indices()
    rows = np.repeat(np.arange(similarity.shape[0]), np.diff(similarity.indptr))
    order = np.lexsort((similarity.indices, -similarity.data, rows))
    rank = np.arange(len(rows)) - similarity.indptr[rows]
    kept = order[rank < count]
    return _scipy_sparse().csr_matrix(
        (similarity.data[kept], (rows[kept], similarity.indices[kept])), shape=similarity.shape
    )
