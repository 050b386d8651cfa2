r"""A small Transformer over the recent items, then attention of the candidate to what it gives.

Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin: "Attention Is All You Need", NeurIPS 2017;
causal, over sequences of items: Kang, McAuley: "Self-Attentive Sequential Recommendation", ICDM 2018.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field

from crossrec.components.modeling.interest.interest import (
    Interest,
    InterestInputs,
    SequenceConfig,
    masked_softmax,
    to_candidates,
)

# Fields begin with a variance of a thousandth, beside which Keras's default is not small.
_EPSILON = 1e-6


class EncoderConfig(SequenceConfig):
    """Sizes of a causal Transformer over the recent items.

    Attributes:
        sequence: As in SequenceConfig.
        features: As in SequenceConfig.
        layers: Encoder layers.
        attention_heads: Attention heads of each layer.
        head_size: Size of a head's queries, keys and values.
        feed_forward: Units of the feed-forward network's hidden layer.
        dropout: Share of each sublayer's outputs dropped in training.
    """

    layers: int = Field(default=1, ge=1, le=8)
    attention_heads: int = Field(default=2, ge=1, le=32)
    head_size: int = Field(default=16, ge=1, le=512)
    feed_forward: int = Field(default=64, ge=1, le=8192)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class TransformerConfig(EncoderConfig):
    """A causal Transformer over the recent items.

    Attributes:
        type: Names this interest in the spec.
        readout: Whether each candidate attends to the encoded items (``target``), or all see the encoding of the
            most recent item (``last``).
    """

    type: Literal["transformer"] = "transformer"
    readout: Literal["target", "last"] = "target"


class EncoderLayer(tf_keras.layers.Layer):
    """Self-attention and a feed-forward network, each on normalised inputs and added to them; ``[B, L, D]`` to same."""

    def __init__(self, config: EncoderConfig, **kwargs: Any):
        """Constructs the layer; sizes as in EncoderConfig."""
        super().__init__(**kwargs)
        self._config = config

    def build(self, shape: tf.TensorShape) -> None:
        """Makes the layers whose size is that of the vectors."""
        size, config = int(shape[-1]), self._config
        self._norms = [tf_keras.layers.LayerNormalization(epsilon=_EPSILON, name=f"norm_{place}") for place in range(2)]
        self._queries_keys_values = tf_keras.layers.Dense(
            3 * config.attention_heads * config.head_size, use_bias=False, name="queries_keys_values"
        )
        self._joined = tf_keras.layers.Dense(size, name="joined")
        self._hidden = tf_keras.layers.Dense(config.feed_forward, activation="relu", name="hidden")
        self._output = tf_keras.layers.Dense(size, name="output")
        self._dropout = tf_keras.layers.Dropout(config.dropout)

    def call(self, vectors: tf.Tensor, allowed: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Encodes vectors.

        Args:
            vectors: ``[B, L, D]``.
            allowed: bool ``[B, L, L]``, whether a row (second axis) may attend to a row (third axis).
            training: As in Keras.

        Returns:
            ``[B, L, D]``.
        """
        attended = self._attend(self._norms[0](vectors), allowed)
        vectors = vectors + self._dropout(attended, training=training)
        fed = self._output(self._hidden(self._norms[1](vectors)))
        return vectors + self._dropout(fed, training=training)

    def _attend(self, vectors: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
        heads, size = self._config.attention_heads, self._config.head_size
        shape = tf.shape(vectors)
        parts = tf.reshape(self._queries_keys_values(vectors), [shape[0], shape[1], 3, heads, size])
        queries, keys, values = tf.unstack(tf.transpose(parts, [2, 0, 3, 1, 4]))
        weights = masked_softmax(tf.matmul(queries, keys, transpose_b=True) * size**-0.5, allowed[:, None])
        mixed = tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3])
        return self._joined(tf.reshape(mixed, [shape[0], shape[1], heads * size]))


class Transformer(Interest):
    r"""Encoded items :math:`e_l` under :math:`\sum_l \mathrm{softmax}(e_l \cdot W c / \sqrt{D})_l e_l`.

    An item attends to itself and to older ones. Positions count the items that are present, from the most recent.
    """

    CONFIG = TransformerConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._layers = [EncoderLayer(self.config, name=f"layer_{place}") for place in range(self.config.layers)]
        self._norm = tf_keras.layers.LayerNormalization(epsilon=_EPSILON, name="norm")

    def build(self, shapes: tuple[tf.TensorShape, ...]) -> None:
        """Makes the vectors of the positions and the projection of candidates."""
        length, size = int(shapes[1][1]), int(shapes[1][2])
        self._positions = tf_keras.layers.Embedding(length, size, name="positions")
        self._query = tf_keras.layers.Dense(size, use_bias=False, name="query")

    def call(self, inputs: InterestInputs, training: bool | None = None) -> tf.Tensor:
        """Maps ``[B, C, D]``, ``[B, L, D]`` and ``[B, L]`` to ``[B, C, D]``; see Interest."""
        candidates, history, present = inputs
        length = int(history.shape[1])
        older = tf.linalg.band_part(tf.ones([length, length], tf.bool), 0, -1)
        positions = tf.cumsum(tf.cast(present, tf.int32), 1, exclusive=True)
        encoded = history + tf.cast(self._positions(positions), history.dtype)
        for layer in self._layers:
            encoded = layer(encoded, older & present[:, None, :], training=training)
        encoded = self._norm(encoded)
        if self.config.readout == "last":
            return to_candidates(tf.reduce_sum(encoded * _first(present, encoded.dtype), 1), candidates)
        scores = tf.matmul(self._query(candidates), encoded, transpose_b=True) * int(history.shape[2]) ** -0.5
        return tf.matmul(masked_softmax(scores, present[:, None]), encoded)


def _first(present: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """1 at the first row that is present, ``[B, L, 1]``; all 0 where none is."""
    first = present & (tf.cumsum(tf.cast(present, tf.int32), 1) == 1)
    return tf.cast(first, dtype)[..., None]
