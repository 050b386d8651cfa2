"""Crosses by vocabulary: an id of its own for every frequent combination.

The vocabulary holds the whole 63-bit keys, so that two combinations share one with a probability of about
:math:`n^2 / 2^{64}`: one in twenty thousand for thirty million combinations.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from crossrec.components.features.crosses.counts import Array
from crossrec.components.features.crosses.hashing import PADDING

RARE = 0
"""The id that all combinations outside the vocabulary share."""


def make_vocabulary(keys: Array, counts: Array, min_count: int, max_size: int) -> tuple[Array, Array]:
    """The vocabulary of counted keys.

    Args:
        keys: int64 ``[n]``, each once.
        counts: int64 ``[n]``, how often each occurs.
        min_count: The least count of a key that gets an id.
        max_size: Most ids.

    Returns:
        Keys int64 ``[k]``, ascending, and the id of each int64 ``[k]``: 1 is the most frequent one; of equally
        frequent keys the smaller one comes first. Where no key is frequent enough, one key with the id of rare ones.
    """
    frequent = np.flatnonzero(counts >= min_count)
    ranked = frequent[np.lexsort((keys[frequent], -counts[frequent]))][:max_size]
    if not len(ranked):
        # A search needs something to search in; one key in 2^63 finds this.
        return np.zeros(1, np.int64), np.full(1, RARE, np.int64)
    order = np.argsort(keys[ranked], kind="stable")
    return keys[ranked][order], 1 + order.astype(np.int64)


def look_up(keys: tf.Tensor, vocabulary: tf.Tensor, ids: tf.Tensor | None = None) -> tf.Tensor:
    """The ids of keys.

    Args:
        keys: int64 ``[..., width]``; -1 is padding.
        vocabulary: int64 ``[k]``, ascending, at least one.
        ids: int64 ``[k]``; the place in the vocabulary, from 1, if left out.

    Returns:
        int64 ``[..., width]``: ids, ``RARE`` for keys outside the vocabulary, -1 for padding.
    """
    # A gather from the variable itself would make each later read of it a copy of the whole.
    vocabulary = tf.convert_to_tensor(vocabulary)
    places = tf.searchsorted(tf.reshape(vocabulary, [1, -1]), tf.reshape(keys, [1, -1]), side="left")
    places = tf.reshape(tf.minimum(places, tf.shape(vocabulary)[0] - 1), tf.shape(keys))
    own = tf.cast(places, tf.int64) + 1 if ids is None else tf.gather(ids, places)
    found = tf.where(tf.gather(vocabulary, places) == keys, own, tf.constant(RARE, tf.int64))
    # A reshape to a shape that the graph knows at run time only would lose the static width.
    found = tf.ensure_shape(found, keys.shape)
    return tf.where(keys < 0, tf.constant(PADDING, tf.int64), found)


def look_up_numpy(keys: Array, vocabulary: Array, ids: Array | None = None) -> Array:
    """The same as :func:`look_up`, for data steps outside TensorFlow."""
    places = np.minimum(np.searchsorted(vocabulary, keys), len(vocabulary) - 1)
    found = np.where(vocabulary[places] == keys, places + 1 if ids is None else ids[places], RARE)
    return np.where(keys < 0, PADDING, found)
