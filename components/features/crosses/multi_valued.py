"""Crosses of multi-valued features as sets: each id that occurs in an example once."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from crossrec.components.features.crosses.counts import Array
from crossrec.components.features.crosses.hashing import PADDING


def once(ids: tf.Tensor) -> tf.Tensor:
    """Each id of an example once, descending; padding takes the places of the others.

    Args:
        ids: int64 ``[..., width]``, -1 is padding.

    Returns:
        int64 ``[..., width]``.
    """
    width = ids.shape[-1]
    if width == 1:
        return ids
    ordered = tf.math.top_k(ids, k=width).values
    again = tf.concat([tf.zeros_like(ordered[..., :1], tf.bool), ordered[..., 1:] == ordered[..., :-1]], -1)
    return tf.where(again, tf.constant(PADDING, tf.int64), ordered)


def once_numpy(ids: Array) -> Array:
    """The same as :func:`once`, for data steps outside TensorFlow."""
    ordered = -np.sort(-ids, axis=-1)
    again = np.zeros(ids.shape, bool)
    again[..., 1:] = ordered[..., 1:] == ordered[..., :-1]
    return np.where(again, PADDING, ordered)
