r"""Count and rate of a cross in the rows that an example may know of.

With :math:`n` rows of a combination, :math:`y` of them with the label, and the rate :math:`p` of all rows

.. math:: count = \log(1 + n), \quad rate = logit \frac{y + m p}{n + m} - logit\, p

where :math:`m` is the strength of the prior (Micci-Barreca 2001, "A Preprocessing Scheme for High-Cardinality
Categorical Attributes"). A combination that was never seen has 0 and 0. Of several pairs in an example the rows
add up, and the rates (their log-odds) are averaged.

A row of training must not see its own label, nor labels that lie after it. So there is one column per part of the
training time (or fold of users), made of the other rows only, and one column of all rows, for later examples: the
only one that is served (the "ordered" statistics of Prokhorenkova et al. 2018, "CatBoost", by parts of time).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from crossrec.components.features.crosses.config import StatisticsCross
from crossrec.components.features.crosses.counts import Array, KeyedCounts
from crossrec.components.features.crosses.vocabulary import look_up_numpy, make_vocabulary


@dataclass(frozen=True)
class StatisticsTable:
    """Statistics of the combinations that occurred.

    Attributes:
        keys: int64 ``[n]``, combinations, ascending; at least one.
        values: float32 ``[n + 1, parts + 1, 2]``: rows and rate (as log-odds, less those of all rows), as each part
            sees them; the last column is of all rows; the first entry, zeros, is of combinations that have none.
        boundaries: int64 ``[parts]``, the first second behind each part; empty if parts are folds of users.
    """

    keys: Array
    values: Array
    boundaries: Array


def part_of(times: Array, users: Array, boundaries: Array | None, parts: int) -> Array:
    """The part of each row: of the time, or where there are no boundaries the fold of its user.

    Args:
        times: int64 ``[n]``, unix seconds.
        users: int64 ``[n]``, hashed.
        boundaries: int64 ``[parts]``; none for folds.
        parts: Number of parts.

    Returns:
        int64 ``[n]`` below ``parts``, or ``parts`` for rows behind all of training.
    """
    if boundaries is None or not len(boundaries):
        return users % parts
    return np.searchsorted(boundaries, times, side="right").astype(np.int64)


class StatisticsCounts:
    """Rows and labels by combination and part; parts merge to the same result in any order."""

    def __init__(self, parts: int):
        """Begins empty, for so many parts."""
        self._parts = parts
        self._own = [KeyedCounts(2) for _ in range(parts)]
        self._all = np.zeros((parts, 2), np.int64)

    def add(self, keys: Array, labels: Array, parts: Array) -> None:
        """Adds rows.

        Args:
            keys: int64 ``[n, width]``, combinations; -1 is padding.
            labels: ``[n]``, 1 or 0.
            parts: int64 ``[n]``, the part of each row.
        """
        ones = np.stack([np.ones(len(labels), np.int64), (labels > 0).astype(np.int64)], -1)
        np.add.at(self._all, parts, ones)
        rows, places = np.nonzero(keys >= 0)
        for part in np.unique(parts):
            here = parts[rows] == part
            self._own[part].add(keys[rows[here], places[here]], ones[rows[here]])

    def merge(self, other: StatisticsCounts) -> None:
        """Adds the rows of another."""
        for mine, theirs in zip(self._own, other._own):
            mine.merge(theirs)
        self._all = self._all + other._all

    def table(self, config: StatisticsCross, boundaries: Array | None) -> StatisticsTable:
        """The statistics as each part sees them.

        Args:
            config: Smoothing and lag.
            boundaries: Where parts end; none for folds of users.
        """
        sums = [counts.sums() for counts in self._own]
        keys = np.unique(np.concatenate([found for found, _ in sums]))
        rows = np.zeros(len(keys), np.int64)
        for found, (counts, _) in ((found, values.T) for found, values in sums):
            rows[np.searchsorted(keys, found)] += counts
        kept, ids = make_vocabulary(keys, rows, config.min_count, config.max_size)
        # The first entry is of combinations that have no statistics; so is the second, if there are no others.
        own = np.zeros((len(kept) + 1, self._parts, 2), np.int64)
        for part, (found, values) in enumerate(sums if ids.any() else ()):
            inside = np.isin(found, kept, assume_unique=True)
            own[1 + np.searchsorted(kept, found[inside]), part] = values[inside]
        timely = boundaries is not None
        seen = _seen(own, timely, config.lag_parts).astype(np.float64)
        of_all = _seen(self._all[None], timely, config.lag_parts)[0]
        # One row of each kind more than there are: the prior of no rows at all is one half.
        positives, negatives = of_all[:, 1] + 1.0, of_all[:, 0] - of_all[:, 1] + 1.0
        prior = positives / (positives + negatives)
        # As two logarithms, so that rates next to 0 and 1 have finite log-odds.
        odds = np.log(seen[..., 1] + config.smoothing * prior)
        odds -= np.log(seen[..., 0] - seen[..., 1] + config.smoothing * (negatives / (positives + negatives)))
        odds = np.where(seen[..., 0] > 0, odds - np.log(positives) + np.log(negatives), 0.0)
        return StatisticsTable(
            keys=kept,
            values=np.stack([seen[..., 0], odds], -1).astype(np.float32),
            boundaries=boundaries if boundaries is not None else np.zeros(0, np.int64),
        )


def _seen(own: Array, timely: bool, lag: int) -> Array:
    """What each part sees, ``[n, parts + 1, 2]``, of what each part holds, ``[n, parts, 2]``."""
    whole = own.sum(1, keepdims=True)
    if not timely:
        return np.concatenate([whole - own, whole], 1)
    before = np.concatenate([np.zeros_like(whole), own.cumsum(1)], 1)
    visible = np.maximum(np.arange(own.shape[1]) + 1 - lag, 0)
    return np.concatenate([before[:, visible], whole], 1)


def statistics(ids: tf.Tensor, table: tf.Tensor, names: Sequence[str], column: tf.Tensor | None = None) -> tf.Tensor:
    """The statistics of examples.

    Args:
        ids: int64 ``[..., width]``, places in the table; -1 is padding.
        table: float32 ``[n + 1, 2]``, rows and rates of all training; or with ``column`` ``[n + 1, parts + 1, 2]``,
            as each part sees them.
        names: ``count``, ``rate``.
        column: int64 ``[..., 1]``, which part each example belongs to.

    Returns:
        float32 ``[..., len(names)]``.
    """
    valid = tf.cast(ids >= 0, tf.float32)
    places = tf.maximum(ids, 0)
    if column is not None:
        columns = tf.shape(table, tf.int64)[1]
        places, table = places * columns + column, tf.reshape(table, [-1, 2])
    rows, rates = tf.unstack(tf.gather(table, places) * valid[..., None], axis=-1)
    found = {
        "count": tf.math.log1p(tf.reduce_sum(rows, -1)),
        "rate": tf.math.divide_no_nan(tf.reduce_sum(rates, -1), tf.reduce_sum(valid, -1)),
    }
    return tf.stack([found[name] for name in names], -1)


def column_of(times: tf.Tensor, users: tf.Tensor, boundaries: Array, parts: int) -> tf.Tensor:
    """The part of each example, as :func:`part_of`.

    Args:
        times: int64 ``[..., 1]``, unix seconds.
        users: int64 ``[..., 1]``, hashed.
        boundaries: int64 ``[parts]``, or empty.
        parts: Number of parts.

    Returns:
        int64 ``[..., 1]``.
    """
    if not len(boundaries):
        return tf.math.floormod(users, tf.constant(parts, tf.int64))
    return tf.reduce_sum(tf.cast(times >= tf.constant(boundaries), tf.int64), -1, keepdims=True)


def statistics_numpy(table: StatisticsTable, keys: Array, names: Sequence[str], column: Array) -> Array:
    """The same as :func:`statistics` in float64, as the reference implementation.

    Args:
        table: The statistics.
        keys: int64 ``[n, width]``; -1 is padding.
        names: ``count``, ``rate``.
        column: int64 ``[n]``, which part each example belongs to; the number of parts for all of training.

    Returns:
        float32 ``[n, len(names)]``.
    """
    valid = keys >= 0
    ids = np.maximum(look_up_numpy(keys, table.keys), 0)
    rows, rates = np.moveaxis(table.values[ids, column[:, None]].astype(np.float64), -1, 0)
    found = {
        "count": np.log1p((rows * valid).sum(-1)),
        "rate": (rates * valid).sum(-1) / np.maximum(valid.sum(-1), 1),
    }
    out: Array = np.stack([found[name] for name in names], -1).astype(np.float32)
    return out
