"""Low-rank adapters beside frozen weights (Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

# As transformers names the query and value projections of an attention layer.
_PROJECTIONS = ("query", "value", "q_lin", "v_lin")


class AdaptedDense(tf_keras.layers.Layer):
    """A frozen dense layer plus a learnt low-rank change: ``x W + b + x A B``, where B begins as zeros."""

    def __init__(self, dense: tf_keras.layers.Dense, rank: int, seed: int, **kwargs: Any):
        """Constructs the layer.

        Args:
            dense: The layer that is adapted; built.
            rank: Columns of A, and rows of B.
            seed: Of A.
            **kwargs: For Keras.
        """
        super().__init__(**kwargs)
        self.dense = dense
        width, units = dense.kernel.shape
        normal = tf_keras.initializers.RandomNormal(stddev=width**-0.5, seed=seed)
        self.down = self.add_weight("down", (width, rank), initializer=normal)
        self.up = self.add_weight("up", (rank, units), initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Projects ``[..., width]`` to ``[..., units]``."""
        return self.dense(inputs) + tf.tensordot(tf.tensordot(inputs, self.down, 1), self.up, 1)

    def merged(self) -> tf_keras.layers.Dense:
        """Adds the change to the dense layer's own weights, and gives that layer."""
        self.dense.kernel.assign_add(tf.matmul(self.down, self.up))
        return self.dense


def adapt(model: tf_keras.Model, rank: int, seed: int) -> list[AdaptedDense]:
    """Puts an adapter on the query and value projections of all attention layers of a transformers model.

    Args:
        model: The model, built.
        rank: Of each adapter.
        seed: Of the first adapter; each further one takes the next.

    Returns:
        The adapters.
    """
    adapters: list[AdaptedDense] = []
    for layer, name in _places(model, tf_keras.layers.Dense):
        adapters.append(AdaptedDense(getattr(layer, name), rank, seed + len(adapters), name=f"{name}_adapted"))
        setattr(layer, name, adapters[-1])
    return adapters


def merge(model: tf_keras.Model) -> None:
    """Undoes ``adapt``, and keeps what the adapters have learnt in the model's own weights."""
    for layer, name in _places(model, AdaptedDense):
        setattr(layer, name, getattr(layer, name).merged())


def _places(model: tf_keras.Model, kind: type) -> list[tuple[tf_keras.layers.Layer, str]]:
    return [
        (layer, name)
        for layer in model.submodules
        for name in _PROJECTIONS
        if isinstance(getattr(layer, name, None), kind)
    ]
