"""Lists of items of different lengths, one per query, as two flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class RaggedItems:
    """A set of item indices for each of Q rows (queries or users).

    Attributes:
      items: int64 [N], the item indices of all rows, row after row, none negative.
      offsets: int64 [Q + 1], where each row begins in ``items``; the last entry is N.

    Example:
      >>> rows = RaggedItems.from_lists([[4, 2], [], [2]])
      >>> rows.lengths.tolist()
      [2, 0, 1]
    """

    items: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.offsets.ndim != 1 or self.items.ndim != 1 or len(self.offsets) == 0:
            raise ValueError(
                f"items and offsets: shapes {self.items.shape} and {self.offsets.shape}; give two flat "
                "arrays, "
                "offsets with one entry more than there are rows"
            )
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.items) or (np.diff(self.offsets) < 0).any():
            raise ValueError(
                f"offsets: begin with {self.offsets[0]} and end with {self.offsets[-1]}; they must begin "
                "with 0, "
                f"never fall, and end with the number of items, {len(self.items)}"
            )
        if len(self.items) and self.items.min() < 0:
            raise ValueError(f"items: hold {self.items.min()}; item indices begin with 0, leave padding out")

    @classmethod
    def from_lists(cls, lists: Sequence[Iterable[int]]) -> RaggedItems:
        """Build from one collection of item indices per row; repeated items count once.

        Args:
          lists: Q collections of item indices.

        Returns:
          The same rows, sorted.
        """
        rows = [np.unique(np.fromiter(entry, dtype=np.int64)) for entry in lists]
        offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
        return cls(np.concatenate([np.empty(0, np.int64), *rows]), offsets)

    @classmethod
    def from_pairs(cls, rows: ArrayLike, items: ArrayLike, row_count: int) -> RaggedItems:
        """Build from (row, item) pairs in any order; repeated pairs count once.

        Args:
          rows: int [N], the row of each pair, below ``row_count``.
          items: int [N], the item index of each pair.
          row_count: Q, also counting rows without a pair.

        Returns:
          The rows, each sorted.

        Raises:
          ValueError: If a row is out of range.
        """
        pairs = np.stack([np.asarray(rows, np.int64), np.asarray(items, np.int64)], axis=1)
        if len(pairs) and not 0 <= pairs[:, 0].min() <= pairs[:, 0].max() < row_count:
            raise ValueError(
                f"rows: from {pairs[:, 0].min()} to {pairs[:, 0].max()}; every row must be in 0 to {row_count - 1}"
            )
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        fresh = np.ones(len(pairs), dtype=bool)
        fresh[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
        pairs = pairs[fresh]
        offsets = np.zeros(row_count + 1, dtype=np.int64)
        np.cumsum(np.bincount(pairs[:, 0], minlength=row_count), out=offsets[1:])
        return cls(pairs[:, 1].copy(), offsets)

    @classmethod
    def from_sparse(cls, matrix: Any) -> RaggedItems:
        """Build from the non-zero entries of a sparse matrix.

        Args:
          matrix: scipy sparse [Q, number of items].

        Returns:
          The columns of the non-zero entries of each row.
        """
        entries = matrix.tocoo()
        there = entries.data != 0
        return cls.from_pairs(entries.row[there], entries.col[there], matrix.shape[0])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of items of each row, int64 [Q]."""
        return np.diff(self.offsets)

    @property
    def row_of_item(self) -> NDArray[np.int64]:
        """The row that each entry of ``items`` belongs to, int64 [N]."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def rows(self, start: int, stop: int) -> RaggedItems:
        """Cut out consecutive rows.

        Args:
          start: First row.
          stop: Row after the last.

        Returns:
          Rows ``start`` to ``stop - 1``.
        """
        offsets = self.offsets[start : stop + 1]
        return RaggedItems(self.items[offsets[0] : offsets[-1]], offsets - offsets[0])
