r"""Deep interest network: recent items count by how much they have to do with the candidate.

Zhou, Zhu, Song, Fan, Zhu, Ma, Yan, Jin, Li, Gai: "Deep Interest Network for Click-Through Rate Prediction",
KDD 2018.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field, PositiveInt

from crossrec.components.modeling.interest.interest import Interest, InterestInputs, SequenceConfig, masked_softmax


class DINConfig(SequenceConfig):
    """Target attention of the deep interest network.

    Attributes:
        type: Names this interest in the spec.
        sequence: As in SequenceConfig.
        features: As in SequenceConfig.
        hidden_layers: Units of the activation unit's hidden layers.
        softmax: Whether the weights of a sequence are normalised to 1. The paper leaves them as they are, so that
            the length of the interest says how strong it is.
    """

    type: Literal["din"] = "din"
    hidden_layers: tuple[PositiveInt, ...] = Field(default=(36,), min_length=1)
    softmax: bool = False


class ActivationUnit(tf_keras.layers.Layer):
    r"""How much item h says about candidate c: a network on :math:`[h; c; h - c; h \odot c]` with PReLU.

    The first layer is linear before its activation, so the parts of h and of c alone are computed once per item and
    per candidate, and only the product's part for each pair: with blocks :math:`W_1 … W_4` of its kernel
    :math:`[h; c; h - c; h \odot c] W = h (W_1 + W_3) + c (W_2 - W_3) + (h \odot c) W_4`.
    """

    def __init__(self, layers: tuple[int, ...], **kwargs: Any):
        """Constructs the unit with hidden layers of the given units."""
        super().__init__(**kwargs)
        self._first, *others = layers
        self._activations = [tf_keras.layers.PReLU(name=f"activation_{place}") for place in range(len(layers))]
        self._others = [tf_keras.layers.Dense(units, name=f"dense_{place}") for place, units in enumerate(others, 1)]
        self._weight = tf_keras.layers.Dense(1, name="weight")

    def build(self, shape: tuple[tf.TensorShape, tf.TensorShape]) -> None:
        """Makes the first layer's weights."""
        self._kernel = self.add_weight(name="kernel", shape=(4 * int(shape[0][-1]), self._first))
        self._bias = self.add_weight(name="bias", shape=(self._first,), initializer="zeros")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Maps candidates ``[B, C, D]`` and history ``[B, L, D]`` to weights ``[B, C, L]``."""
        candidates, history = inputs
        of_history, of_candidate, of_difference, of_product = tf.split(tf.cast(self._kernel, self.compute_dtype), 4)
        hidden = (
            _product(history, of_history + of_difference)[:, None]
            + _product(candidates, of_candidate - of_difference)[:, :, None]
            + _product(candidates[:, :, None] * history[:, None], of_product)
            + tf.cast(self._bias, self.compute_dtype)
        )
        shape = tf.shape(hidden)
        hidden = self._activations[0](tf.reshape(hidden, [-1, self._first]))
        for dense, activation in zip(self._others, self._activations[1:]):
            hidden = activation(dense(hidden))
        return tf.reshape(self._weight(hidden), shape[:3])


class DIN(Interest):
    r"""The weighted sum of the recent items: :math:`\sum_l a(h_l, c) h_l`, a by the activation unit."""

    CONFIG = DINConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._unit = ActivationUnit(self.config.hidden_layers, name="activation_unit")

    def call(self, inputs: InterestInputs, training: bool | None = None) -> tf.Tensor:
        """Maps ``[B, C, D]``, ``[B, L, D]`` and ``[B, L]`` to ``[B, C, D]``; see Interest."""
        candidates, history, present = inputs
        weights = self._unit((candidates, history))
        if self.config.softmax:
            weights = masked_softmax(weights, present[:, None])
        else:
            weights *= tf.cast(present, weights.dtype)[:, None]
        return tf.matmul(weights, history)


def _product(vectors: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """``[..., D]`` times ``[D, units]`` as one flat product, for what oneDNN makes of batches of them see fields.py."""
    flat = tf.matmul(tf.reshape(vectors, [-1, vectors.shape[-1]]), matrix)
    return tf.reshape(flat, tf.concat([tf.shape(vectors)[:-1], [matrix.shape[-1]]], 0))
