"""The exact AUC of more rows than memory holds: rows counted by score and label, in sorted runs on disk."""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ENTRY = np.dtype([("score", np.float32), ("positives", np.int64), ("negatives", np.int64)])
Entries = NDArray[Any]


class ScoreCounts:
    r"""Counts rows by score and label, batch by batch.

    .. math:: AUC = \frac{1}{P N} \sum_s p_s \left(\sum_{t < s} n_t + \frac{n_s}{2}\right)

    where of the rows with score s :math:`p_s` are positive and :math:`n_s` negative. All is counted in integers, so
    that neither the batches nor the order of the rows change the result.
    """

    def __init__(self, directory: str, rows: int = 1 << 18):
        """Begins with nothing.

        Args:
            directory: For files of counts, on this machine; the caller removes it.
            rows: So many are held in memory. Behind that their counts go to a file, at most 20 bytes a row.
        """
        self._directory, self._rows = directory, rows
        self._labels: list[NDArray[np.bool_]] = []
        self._scores: list[NDArray[np.float32]] = []
        self._files: list[str] = []
        self.positives = 0
        self.negatives = 0

    def add(self, labels: NDArray[np.bool_], scores: NDArray[np.float32]) -> None:
        """Counts rows.

        Args:
            labels: bool ``[n]``.
            scores: float32 ``[n]``, no NaN.
        """
        positives = int(labels.sum())
        self.positives, self.negatives = self.positives + positives, self.negatives + len(labels) - positives
        self._labels.append(labels)
        self._scores.append(scores)
        if sum(map(len, self._labels)) >= self._rows:
            self._files.append(posixpath.join(self._directory, f"{uuid.uuid4().hex}.npy"))
            np.save(self._files[-1], self._held())
            self._labels, self._scores = [], []

    def auc(self) -> float:
        """The area under the ROC curve of all rows; NaN without both classes."""
        runs = [np.load(path, mmap_mode="r") for path in self._files]
        if self._labels:
            runs.append(self._held())
        twice = below = 0
        for entries in _merged(runs, self._rows):
            positives, negatives = entries["positives"], entries["negatives"]
            lower = below + np.cumsum(negatives) - negatives
            twice += int((positives * (2 * lower + negatives)).sum())
            below += int(negatives.sum())
        pairs = self.positives * self.negatives
        return twice / (2 * pairs) if pairs else float("nan")

    def _held(self) -> Entries:
        labels = np.concatenate(self._labels)
        entries = np.empty(len(labels), _ENTRY)
        entries["score"], entries["positives"], entries["negatives"] = np.concatenate(self._scores), labels, ~labels
        return _by_score([entries])


def _merged(runs: Sequence[Entries], size: int) -> Iterator[Entries]:
    """Sorted runs as one, in pieces of about ``size`` entries.

    Of every run each ``step``-th score is taken; between two neighbours of these a run has fewer than ``step`` entries.
    """
    step = max(size // max(len(runs), 1), 1)
    marks = np.sort(np.concatenate([np.empty(0, np.float32), *(run["score"][step - 1 :: step] for run in runs)]))
    starts = [0] * len(runs)
    for border in (*np.unique(marks[:: max(len(runs), 1)]), np.inf):
        stops = [int(np.searchsorted(run["score"], border, "right")) for run in runs]
        yield _by_score([run[start:stop] for run, start, stop in zip(runs, starts, stops)])
        starts = stops


def _by_score(parts: Sequence[Entries]) -> Entries:
    """One entry for each score, ascending."""
    entries: Entries = np.concatenate([np.empty(0, _ENTRY), *parts])
    entries = entries[np.argsort(entries["score"], kind="stable")]
    if not len(entries):
        return entries
    scores = entries["score"]
    first = np.append(0, np.flatnonzero(scores[1:] != scores[:-1]) + 1)
    out: Entries = entries[first]
    for name in ("positives", "negatives"):
        out[name] = np.add.reduceat(entries[name], first)
    return out
