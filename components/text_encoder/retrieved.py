"""How well vectors find the text that belongs to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossrec.components.features.sorted_keys import find

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class KnownPairs:
    """Pairs of texts that belong together, in one order or the other.

    Attributes:
        keys: Sorted.
        texts: Number of texts.
    """

    keys: Ints
    texts: int

    @classmethod
    def of(cls, left: Ints, right: Ints, texts: int) -> KnownPairs:
        """From numbers of texts, ``[N]`` each."""
        return cls(np.unique(np.concatenate([left * texts + right, right * texts + left])), texts)

    def among(self, left: Ints, right: Ints) -> npt.NDArray[np.bool_]:
        """Whether each of ``left`` belongs to each of ``right``, or is the same text; bool ``[L, R]``."""
        belong = find(self.keys, left[:, None] * self.texts + right) >= 0
        found: npt.NDArray[np.bool_] = belong | (left[:, None] == right)
        return found


def reciprocal_ranks(
    scores: npt.NDArray[np.float32], wanted: Ints, known: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """One over the rank of the wanted text of each row, among those that do not belong to the row otherwise.

    Equal scores count half, so that equal vectors know nothing.

    Args:
        scores: ``[L, R]``.
        wanted: The column of each row's text, ``[L]``.
        known: bool ``[L, R]``, the texts that belong to a row.
    """
    own = np.take_along_axis(scores, wanted[:, None], 1)
    others = ~known
    np.put_along_axis(others, wanted[:, None], False, 1)
    before = ((scores > own) & others).sum(1)
    ties = ((scores == own) & others).sum(1)
    ranks: npt.NDArray[np.float64] = 1.0 + before + ties / 2
    return 1.0 / ranks
