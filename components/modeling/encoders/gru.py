"""Gated recurrent unit over the recent items.

Cho, van Merriënboer, Gulcehre, Bahdanau, Bougares, Schwenk, Bengio: "Learning Phrase Representations using RNN
Encoder-Decoder for Statistical Machine Translation", EMNLP 2014; over sessions of items: Hidasi, Karatzoglou,
Baltrunas, Tikk: "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field

from crossrec.components.modeling.interest.interest import Interest, InterestInputs, SequenceConfig, to_candidates


class GRUConfig(SequenceConfig):
    """A recurrent network over the recent items.

    Attributes:
        type: Names this encoder in the spec.
        sequence: As in SequenceConfig.
        features: As in SequenceConfig.
        units: Size of its state.
    """

    type: Literal["gru"] = "gru"
    units: int = Field(default=32, ge=1, le=4096)


class GRU(Interest):
    r"""The last state, read from the oldest item to the most recent, and projected: :math:`W s_n + b`."""

    CONFIG = GRUConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        # The cell in a plain loop: Keras's own GRU layer brings its cuDNN twin into the serving graph.
        self._recurrent = tf_keras.layers.RNN(
            tf_keras.layers.GRUCell(self.config.units, name="cell"), go_backwards=True, name="recurrent"
        )

    def build(self, shapes: tuple[tf.TensorShape, ...]) -> None:
        """Makes the projection to the size of the vectors."""
        self._projection = tf_keras.layers.Dense(int(shapes[1][-1]), name="projection")

    def call(self, inputs: InterestInputs, training: bool | None = None) -> tf.Tensor:
        """Maps ``[B, C, D]``, ``[B, L, D]`` and ``[B, L]`` to ``[B, C, D]``; see Interest."""
        candidates, history, present = inputs
        state = self._projection(self._recurrent(history, mask=present, training=training))
        known = tf.cast(tf.reduce_any(present, -1, keepdims=True), state.dtype)
        return to_candidates(state * known, candidates)
