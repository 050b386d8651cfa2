"""What multi-task heads are put together from: towers, experts, and gates that mix experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork


class Experts(tf_keras.layers.Layer):
    """Several networks of one shape over one input: ``[N, in]`` to ``[N, experts, layers[-1]]``."""

    def __init__(self, experts: int, config: DeepConfig, **kwargs: Any):
        """Constructs the networks.

        Args:
            experts: Their number.
            config: The layers of each.
            **kwargs: For Keras.
        """
        super().__init__(**kwargs)
        self._experts = [DeepNetwork(config, name=f"expert_{place}") for place in range(experts)]

    def call(self, hidden: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps ``[N, in]`` to ``[N, experts, out]``."""
        return tf.stack([expert(hidden, training=training) for expert in self._experts], 1)


class Gate(tf_keras.layers.Layer):
    r"""A mean of experts with weights that depend on the input: :math:`\sum_e \mathrm{softmax}(W x + b)_e f_e`."""

    def __init__(self, experts: int, **kwargs: Any):
        """Constructs the gate over that many experts."""
        super().__init__(**kwargs)
        self._weights = tf_keras.layers.Dense(experts, activation="softmax", dtype="float32", name="weights")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Maps the input ``[N, in]`` and the experts ``[N, experts, units]`` to ``[N, units]``."""
        hidden, experts = inputs
        weights = tf.cast(self._weights(hidden), experts.dtype)
        return tf.reduce_sum(weights[..., None] * experts, 1)


class Towers(tf_keras.layers.Layer):
    """A network and a logit for each task, on an input of its own: ``tasks`` times ``[N, in]`` to ``[N, tasks]``."""

    def __init__(self, tasks: int, config: DeepConfig, **kwargs: Any):
        """Constructs the networks.

        Args:
            tasks: Their number.
            config: The layers below each logit.
            **kwargs: For Keras.
        """
        super().__init__(**kwargs)
        self._networks = [DeepNetwork(config, name=f"network_{place}") for place in range(tasks)]
        self._logits = [tf_keras.layers.Dense(1, dtype="float32", name=f"logit_{place}") for place in range(tasks)]

    def call(self, inputs: Sequence[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Maps the tasks' inputs to float32 ``[N, tasks]``."""
        return tf.concat(
            [
                logit(network(hidden, training=training))
                for network, logit, hidden in zip(self._networks, self._logits, inputs)
            ],
            -1,
        )
