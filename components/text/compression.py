"""Weights that are stored in fewer bits, and become float32 variables once, when the model is loaded.

The stock server's CPU multiplies float32 matrices only. Widening at each call would make every query read and write all
weights once more; done by the model's initialiser, it costs loading time instead, and a query nothing.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# Smaller matrices are not worth the loss.
SMALLEST = 16_384


class Widened(tf.saved_model.experimental.TrackableResource):
    """A float32 variable that the SavedModel's initialiser fills from int8 or float16 values."""

    def __init__(self, values: tf.Variable, scales: tf.Variable | None, name: str):
        """Constructs the resource.

        Args:
            values: int8 or float16, of the variable's shape.
            scales: float32 factors that broadcast to the values, or None.
            name: Names the variable in a session; models that are loaded into one process share a name's variable,
                so that it must tell the contents.
        """
        super().__init__()
        self._values, self._scales, self._name = values, scales, name
        self._initialize()

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=self._values.shape, shared_name=self._name)

    def _initialize(self) -> None:
        wide = tf.cast(self._values, tf.float32)
        wide = wide if self._scales is None else wide * self._scales
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=wide)


def quantize(weights: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Rounds a matrix to 255 steps per channel, symmetric about zero.

    ``scale = max |weight| / 127`` and ``value = round(weight / scale)`` (Jacob et al. 2018, Quantization and Training
    of Neural Networks for Efficient Integer-Arithmetic-Only Inference), for weights only.

    Args:
        weights: float32 ``[rows, columns]``.
        axis: The axis that a channel runs along: 0 if each column is one, 1 if each row is.

    Returns:
        int8 values of the same shape, and float32 scales with one entry along ``axis``.
    """
    scales = np.abs(weights).max(axis=axis, keepdims=True) / 127
    return np.rint(weights / np.where(scales > 0, scales, 1)).astype(np.int8), scales.astype(np.float32)


def compress(weights: NDArray[Any], precision: str, rows: bool) -> tuple[NDArray[Any], ...]:
    """Gives the arrays to store for a weight: one, or values and scales.

    Args:
        weights: Of any shape and type; only large float32 matrices become smaller.
        precision: ``float32``, ``float16`` or ``int8``.
        rows: Whether a channel is a row, as in a table that is looked up, and not a column.
    """
    if weights.dtype != np.float32 or weights.ndim != 2 or weights.size < SMALLEST or precision == "float32":
        return (weights,)
    if precision == "int8":
        return quantize(weights, axis=1 if rows else 0)
    limit = np.finfo(np.float16).max
    return (np.clip(weights, -limit, limit).astype(np.float16),)


def shared_name(arrays: tuple[NDArray[Any], ...]) -> str:
    """A name that only equal arrays share."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return f"text_encoder_{digest.hexdigest()}"
