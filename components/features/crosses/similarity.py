"""How alike two vectors are, the one of the query and the one of the item, say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from crossrec.components.features.crosses.counts import Array


def similarity(left: tf.Tensor, right: tf.Tensor, measures: Sequence[str]) -> tf.Tensor:
    r"""Measures of two vectors.

    .. math:: dot = \sum_j u_j v_j, \quad cosine = dot / (|u| |v|)

    Args:
        left: float32 ``[..., dimension]``.
        right: float32 ``[..., dimension]``; leading dimensions are broadcast.
        measures: ``dot``, ``cosine``.

    Returns:
        float32 ``[..., len(measures)]``; the cosine of a vector of zeros is 0.
    """
    dot = tf.reduce_sum(left * right, -1)
    found = {"dot": dot}
    if "cosine" in measures:
        # Each vector is made short before they meet: the product of two long ones may overflow.
        found["cosine"] = tf.reduce_sum(_unit(left) * _unit(right), -1)
    return tf.stack([found[measure] for measure in measures], -1)


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    scaled = tf.math.divide_no_nan(vectors, tf.reduce_max(tf.abs(vectors), -1, keepdims=True))
    return tf.math.divide_no_nan(scaled, tf.norm(scaled, axis=-1, keepdims=True))


def similarity_numpy(left: Array, right: Array, measures: Sequence[str]) -> Array:
    """The same as :func:`similarity`, as the reference implementation in float64."""
    u, v = np.asarray(left, np.float64), np.asarray(right, np.float64)
    dot = (u * v).sum(-1)
    lengths = np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1)
    cosine = np.divide(dot, lengths, out=np.zeros_like(dot), where=lengths > 0)
    out: Array = np.stack([{"dot": dot, "cosine": cosine}[measure] for measure in measures], -1).astype(np.float32)
    return out
