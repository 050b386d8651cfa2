"""A recurrent network over the recent items, the same for every candidate; ``lstm`` and ``gru`` name its cell."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf
import tf_keras
from pydantic import Field

from crossrec.components.modeling.interest.interest import Interest, InterestInputs, SequenceConfig, to_candidates


class RecurrentConfig(SequenceConfig):
    """A recurrent network over the recent items.

    Attributes:
        sequence: As in SequenceConfig.
        features: As in SequenceConfig.
        units: Size of its state.
    """

    units: int = Field(default=32, ge=1, le=4096)


class Recurrent(Interest):
    r"""The last state, read from the oldest item to the most recent, and projected: :math:`W s_n + b`."""

    CELL: ClassVar[type[tf_keras.layers.Layer]]

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        # The cell in a plain loop: Keras's own layers bring their cuDNN twin into the serving graph.
        self._recurrent = tf_keras.layers.RNN(
            self.CELL(self.config.units, name="cell"), go_backwards=True, name="recurrent"
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
