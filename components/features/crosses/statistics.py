r"""Count and rate of a cross in the rows that an example may know of.

With :math:`n` rows of a combination, :math:`y` of them with the label, and the rate :math:`p` of all rows

.. math:: count = \log(1 + n), \quad rate = logit \frac{y + m p}{n + m} - logit\, p

where :math:`m` is the strength of the prior (Micci-Barreca 2001, "A Preprocessing Scheme for High-Cardinality
Categorical Attributes"). A combination that was never seen has 0 and 0. Of several pairs in an example the rows
add up, and the smoothed rates are averaged.

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

_FARTHEST = 1e-6
"""Rates stay as far from 0 and 1, so that their log-odds are finite."""


@dataclass(frozen=True)
class StatisticsTable:
    """Statistics of the combinations that occurred.

    Attributes:
        ids: int64 ``[n]``, hashed combinations, ascending.
        values: float32 ``[n, parts + 1, 2]``: rows and smoothed rate, as each part sees them; the last column is
            of all rows.
        priors: float32 ``[parts + 1]``, the rate of all rows, as each part sees it.
        boundaries: int64 ``[parts]``, the first second behind each part; empty if parts are folds of users.
    """

    ids: Array
    values: Array
    priors: Array
    boundaries: Array

    def dense(self, buckets: int) -> Array:
        """The values by id, float32 ``[buckets + 1, parts + 1, 2]``; no rows and the prior where there are none."""
        unseen = np.stack([np.zeros_like(self.priors), self.priors], -1)
        out = np.broadcast_to(unseen, (buckets + 1, *unseen.shape)).copy()
        out[self.ids] = self.values
        return out


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
        self._cells = KeyedCounts(2)
        self._all = np.zeros((parts, 2), np.int64)

    def add(self, ids: Array, labels: Array, parts: Array) -> None:
        """Adds rows.

        Args:
            ids: int64 ``[n, width]``, hashed combinations; -1 is padding.
            labels: ``[n]``, 1 or 0.
            parts: int64 ``[n]``, the part of each row.
        """
        ones = np.stack([np.ones(len(labels), np.int64), (labels > 0).astype(np.int64)], -1)
        np.add.at(self._all, parts, ones)
        rows, places = np.nonzero(ids >= 0)
        self._cells.add(ids[rows, places] * self._parts + parts[rows], ones[rows])

    def merge(self, other: StatisticsCounts) -> None:
        """Adds the rows of another."""
        self._cells.merge(other._cells)
        self._all = self._all + other._all

    def table(self, config: StatisticsCross, boundaries: Array | None) -> StatisticsTable:
        """The statistics as each part sees them.

        Args:
            config: Smoothing and lag.
            boundaries: Where parts end; none for folds of users.
        """
        cells, sums = self._cells.sums()
        ids, rows = np.unique(cells // self._parts, return_inverse=True)
        own = np.zeros((len(ids), self._parts, 2), np.int64)
        own[rows, cells % self._parts] = sums
        timely = boundaries is not None
        seen = _seen(own, timely, config.lag_parts).astype(np.float64)
        of_all = _seen(self._all[None], timely, config.lag_parts)[0]
        # One row of each kind more than there are: the prior of no rows at all is one half.
        priors = (of_all[:, 1] + 1.0) / (of_all[:, 0] + 2.0)
        strength = config.smoothing
        rates = (seen[..., 1] + strength * priors) / (seen[..., 0] + strength)
        return StatisticsTable(
            ids=ids,
            values=np.stack([seen[..., 0], _inside(rates)], -1).astype(np.float32),
            priors=_inside(priors).astype(np.float32),
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


def _inside(rates: Array) -> Array:
    return np.clip(rates, _FARTHEST, 1.0 - _FARTHEST)


def statistics(
    ids: tf.Tensor, table: tf.Tensor, priors: tf.Tensor, names: Sequence[str], column: tf.Tensor | None = None
) -> tf.Tensor:
    """The statistics of examples.

    Args:
        ids: int64 ``[..., width]``, hashed combinations; -1 is padding.
        table: float32 ``[buckets + 1, 2]``, rows and rates of all training; or with ``column``
            ``[(buckets + 1) * (parts + 1), 2]``, as each part sees them.
        priors: float32 scalar, or with ``column`` ``[parts + 1]``.
        names: ``count``, ``rate``.
        column: int64 ``[..., 1]``, which part each example belongs to.

    Returns:
        float32 ``[..., len(names)]``.
    """
    valid = tf.cast(ids >= 0, tf.float32)
    places = tf.maximum(ids, 0)
    if column is not None:
        places = places * priors.shape[0] + column
        priors = tf.gather(priors, column[..., 0])
    rows, rates = tf.unstack(tf.gather(table, places), axis=-1)
    pairs = tf.reduce_sum(valid, -1)
    mean = tf.math.divide_no_nan(tf.reduce_sum(rates * valid, -1), pairs)
    mean = tf.where(pairs > 0, mean, priors)
    found = {
        "count": tf.math.log1p(tf.reduce_sum(rows * valid, -1)),
        "rate": _log_odds(mean) - _log_odds(priors),
    }
    return tf.stack([found[name] for name in names], -1)


def _log_odds(rates: tf.Tensor) -> tf.Tensor:
    return tf.math.log(rates) - tf.math.log1p(-rates)


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


def statistics_numpy(table: StatisticsTable, ids: Array, names: Sequence[str], column: Array) -> Array:
    """The same as :func:`statistics` in float64, as the reference implementation.

    Args:
        table: The statistics.
        ids: int64 ``[n, width]``; -1 is padding.
        names: ``count``, ``rate``.
        column: int64 ``[n]``, which part each example belongs to; the number of parts for all of training.

    Returns:
        float32 ``[n, len(names)]``.
    """
    places = np.minimum(np.searchsorted(table.ids, ids), max(len(table.ids) - 1, 0))
    known = (table.ids[places] == ids) if len(table.ids) else np.zeros(ids.shape, bool)
    priors = table.priors[column].astype(np.float64)
    values = np.stack([np.zeros(ids.shape), np.broadcast_to(priors[:, None], ids.shape)], -1)
    where = np.nonzero(known)
    values[where] = table.values[places[where], column[where[0]]]
    valid = ids >= 0
    pairs = valid.sum(-1)
    mean = np.where(pairs > 0, (values[..., 1] * valid).sum(-1) / np.maximum(pairs, 1), priors)
    found = {
        "count": np.log1p((values[..., 0] * valid).sum(-1)),
        "rate": np.log(mean / (1 - mean)) - np.log(priors / (1 - priors)),
    }
    out: Array = np.stack([found[name] for name in names], -1).astype(np.float32)
    return out
