r"""How popular each item was at the moment of each row, and is at the moment of serving.

An interaction counts :math:`2^{-age / half\_life}`, and an item's share :math:`p_t(i)` is that of its count, smoothed.
The model adds :math:`a \log p_t(i)` to its scores, with a learned :math:`a`, so that the towers learn what a query
wants beyond what everybody wants at the time; the biases of items that drift over time are those of Koren,
"Collaborative Filtering with Temporal Dynamics", KDD 2009. A row sees interactions before it only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from pydantic import Field

from crossrec.components.errors import DataError
from crossrec.components.features.frozen import Frozen
from crossrec.components.features.item_table import Array

_DAY = 86_400
_MOST_STATES, _MOST_NUMBERS = 256, 2**26


class PopularityConfig(Frozen):
    """The part of recent popularity in the scores.

    Attributes:
        half_life_days: Age at which an interaction counts half.
        smoothing: Interactions of each item that are added to those that it had.
    """

    half_life_days: float = Field(default=7.0, gt=0, le=36_500)
    smoothing: float = Field(default=0.2, gt=0, le=1e6)


class Popularity(tf_keras.layers.Layer):
    """Log shares of all items, as they were at several moments of the training and as they are after it."""

    def __init__(self, items: int, **kwargs: Any):
        """Constructs the layer with equal shares.

        Args:
            items: Number of items, the unknown one included.
            **kwargs: For Keras.
        """
        super().__init__(**kwargs)
        self._weight = self.add_weight(name="weight", shape=(), initializer="ones")
        # Their number is known once there is data; what is saved are the last ones.
        self._moments = tf.Variable([0], trainable=False, dtype=tf.int64, shape=[None], name="moments")
        equal = np.full([1, items], -np.log(items), np.float32)
        self._shares = tf.Variable(equal, trainable=False, shape=[None, items], name="shares")

    def set_history(self, moments: Array, shares: Array) -> None:
        """Takes over what ``log_shares`` found."""
        self._moments.assign(moments)
        self._shares.assign(shares)

    def forget_history(self) -> None:
        """Keeps the last moment only."""
        self.set_history(self._moments.numpy()[-1:], self._shares.numpy()[-1:])

    def of_all(self, moments: tf.Tensor) -> tf.Tensor:
        """Weighted log shares of all items at the moments ``[B]``: float32 ``[B, items]``."""
        return self._weight * tf.gather(self._shares, self._states(moments))

    def of_rows(self, moments: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Weighted log shares of item rows ``[C]`` at the moments ``[B]``: float32 ``[B, C]``."""
        states = self._states(moments)
        places = states[:, None] * tf.shape(self._shares, tf.int64)[1] + rows[None, :]
        return self._weight * tf.gather(tf.reshape(self._shares, [-1]), places)

    def of_pairs(self, moments: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Weighted log shares of one item row at each of the moments, both ``[P]``: float32 ``[P]``."""
        return self._weight * tf.gather_nd(self._shares, tf.stack([self._states(moments), rows], 1))

    def now(self) -> tf.Tensor:
        """Weighted log shares after the training, float32 ``[items]``."""
        return self._weight * self._shares[-1]

    def _states(self, moments: tf.Tensor) -> tf.Tensor:
        return tf.maximum(tf.searchsorted(self._moments, moments, side="right", out_type=tf.int64) - 1, 0)


def log_shares(moments: Array, rows: Array, items: int, config: PopularityConfig) -> tuple[Array, Array]:
    """Log shares of the items at moments that are evenly spread over the interactions.

    Args:
        moments: Unix seconds of the interactions, int64 ``[n]``.
        rows: Their item rows, int64 ``[n]``; negative rows are left out.
        items: Number of items without the unknown one.
        config: Half-life and smoothing.

    Returns:
        Moments int64 ``[states]``, ascending, and log shares float32 ``[states, items + 1]`` of the interactions
        before each; the first state has seen none, the last all. The last column is the unknown item.

    Raises:
        DataError: All interactions have one time.
    """
    moments, rows = moments[rows >= 0], rows[rows >= 0]
    first, end = int(moments.min(initial=0 if not len(moments) else moments[0])), int(moments.max(initial=0)) + 1
    if not len(moments) or end - first <= 1:
        raise DataError(
            "retrieval.popularity", "all positive interactions have one time", "Leave it out, or name data's timestamp."
        )
    half_life = config.half_life_days * _DAY
    most = max(1, min(_MOST_STATES, _MOST_NUMBERS // (items + 1)))
    parts = int(np.clip(np.ceil((end - first) / (half_life / 8)), 1, most))
    edges = np.unique(np.linspace(first, end, parts + 1).astype(np.int64))
    part = np.searchsorted(edges, moments, side="right") - 1
    counts = np.zeros([len(edges), items + 1])
    np.add.at(counts, (part + 1, rows), np.exp2((moments - edges[part + 1]) / half_life))
    for state in range(1, len(edges)):
        counts[state] += counts[state - 1] * np.exp2((edges[state - 1] - edges[state]) / half_life)
    counts += config.smoothing
    return edges, np.log(counts / counts.sum(1, keepdims=True)).astype(np.float32)
