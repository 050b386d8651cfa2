"""Weights of field pairs."""

from __future__ import annotations

import itertools

import tensorflow as tf

from crossrec.components.errors import DataError


def pair_count(fields: int, name: str) -> int:
    """Number of pairs i < j among F fields: F (F - 1) / 2.

    Args:
        fields: Number of fields F.
        name: The interaction that crosses pairs, for the message.

    Raises:
        DataError: There is but one field.
    """
    if fields < 2:
        raise DataError("ranking.features", f"{name} crosses pairs and got 1 field", "Name two features or more.")
    return fields * (fields - 1) // 2


def upper_triangle(weights: tf.Tensor, fields: int) -> tf.Tensor:
    """Puts the weights of pairs where they stand in the matrix of all fields against all fields.

    Args:
        weights: ``[P, ...]``, one entry for each pair i < j, in the order (0, 1), (0, 2), …, (F - 2, F - 1).
        fields: Number of fields F.

    Returns:
        ``[F, F, ...]``: the pair's weight at (i, j) for i < j, zeros elsewhere.
    """
    places = list(itertools.combinations(range(fields), 2))
    where = tf.reshape(tf.constant(places, tf.int32), [len(places), 2])
    return tf.scatter_nd(where, weights, [fields, fields, *weights.shape[1:]])
