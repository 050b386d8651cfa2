"""A stack of dense layers, as most interactions have one beside or behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras
from pydantic import Field, PositiveInt

from crossrec.components.features.frozen import Frozen

# Keras's 0.99 leaves the statistics of some hundred steps ago where a pass has few steps; 0.9 is PyTorch's.
NORMALISATION_MOMENTUM = 0.9


class DeepConfig(Frozen):
    """A stack of dense layers.

    Attributes:
        layers: Units of each layer.
        dropout: Share of each layer's outputs dropped in training.
        batch_normalisation: Whether each layer is normalised over the batch before its activation.
    """

    layers: tuple[PositiveInt, ...] = (128, 64)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    batch_normalisation: bool = False


class DeepNetwork(tf_keras.layers.Layer):
    """Linear, (batch normalisation,) ReLU, dropout: ``[N, in]`` to ``[N, layers[-1]]``; without layers, the input.

    Args:
        config: The stack.
        layer: Makes the linear layer of some units.
    """

    def __init__(
        self,
        config: DeepConfig,
        layer: Callable[[int], tf_keras.layers.Layer] = tf_keras.layers.Dense,
        **kwargs: Any,
    ):
        """Constructs the layers."""
        super().__init__(**kwargs)
        self._linear = [layer(units) for units in config.layers]
        several = tf.distribute.get_strategy().num_replicas_in_sync > 1
        self._normalisations = [
            # Over the whole batch, of which each device has a part.
            tf_keras.layers.BatchNormalization(momentum=NORMALISATION_MOMENTUM, synchronized=several)
            for _ in config.layers * config.batch_normalisation
        ]
        self._dropout = tf_keras.layers.Dropout(config.dropout)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps ``[N, in]`` to ``[N, out]``."""
        hidden = inputs
        for place, linear in enumerate(self._linear):
            hidden = linear(hidden)
            if self._normalisations:
                hidden = self._normalisations[place](hidden, training=training)
            hidden = self._dropout(tf.nn.relu(hidden), training=training)
        return hidden
