r"""DCN-V2: explicit crosses of bounded degree and a deep network.

Wang, Shivanna, Cheng, Jain, Lin, Hong, Chi: "DCN V2: Improved Deep & Cross Network and Practical Lessons
for Web-scale Learning to Rank Systems", WWW 2021.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field, model_validator

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork
from crossrec.components.modeling.interactions.interaction import Interaction, flatten


class MixtureConfig(Frozen):
    """The mixture of low-rank experts of DCN-Mix.

    Attributes:
        experts: Number of experts K, each with U, V and, if there is an activation, C of its own.
        activation: The nonlinearity g in the space of rank r; ``none`` leaves out g and C.
        gate: What makes the experts' weights of their scores; one expert under ``softmax`` has weight 1.
    """

    experts: int = Field(default=4, ge=1, le=64)
    activation: Literal["tanh", "relu", "none"] = "tanh"
    gate: Literal["softmax", "sigmoid"] = "softmax"


class DCNV2Config(Frozen):
    """DCN-V2.

    Attributes:
        type: Names this interaction in the spec.
        cross_layers: Cross layers, one less than the highest degree of a cross.
        low_rank: Rank r of W = U V, U ``[D, r]``, V ``[r, D]``; a full matrix if left out.
        mixture: Several such W and a gate between them; one W if left out. Needs ``low_rank``.
        structure: Whether the deep network sees the fields, beside the cross network (``parallel``), or the
            cross network's output (``stacked``).
        deep: The deep network; none without layers.
    """

    type: Literal["dcn_v2"] = "dcn_v2"
    cross_layers: int = Field(default=2, ge=1, le=16)
    low_rank: int | None = Field(default=None, ge=1)
    mixture: MixtureConfig | None = None
    structure: Literal["parallel", "stacked"] = "parallel"
    deep: DeepConfig = DeepConfig()

    @model_validator(mode="after")
    def _experts_have_a_rank(self) -> DCNV2Config:
        if self.mixture is not None and self.low_rank is None:
            raise ValueError(
                "'mixture' is of low-rank experts, and 'low_rank' is missing. Add it, as in 'low_rank: 32'"
            )
        return self


class CrossLayer(tf_keras.layers.Layer):
    r"""One cross layer: :math:`x_{l+1} = x_0 \odot (W x_l + b) + x_l`, all ``[N, D]``."""

    def __init__(self, low_rank: int | None = None, **kwargs: Any):
        """Constructs the layer; ``low_rank`` as in DCNV2Config."""
        super().__init__(**kwargs)
        self._low_rank = low_rank

    def build(self, shape: tuple[tf.TensorShape, tf.TensorShape]) -> None:
        """Makes W (or U and V) and b."""
        size = int(shape[0][-1])
        self._down = tf_keras.layers.Dense(self._low_rank, use_bias=False, name="down") if self._low_rank else None
        self._up = tf_keras.layers.Dense(size, name="up")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Maps (x_0, x_l) to x_{l+1}."""
        first, current = inputs
        projected = self._down(current) if self._down is not None else current
        return first * self._up(projected) + current


class MixtureCrossLayer(tf_keras.layers.Layer):
    r"""One cross layer of DCN-Mix.

    :math:`x_{l+1} = \sum_{i=1}^K G_i(x_l) E_i(x_l) + x_l` with experts
    :math:`E_i(x_l) = x_0 \odot (U_i\, g(C_i\, g(V_i x_l)) + b)` and gates G = softmax or sigmoid of a matrix times x_l.

    Shapes: x is ``[N, D]``, U ``[D, r]``, C ``[r, r]``, V ``[r, D]``, b ``[D]``, the gates' matrix ``[K, D]``.
    """

    def __init__(self, low_rank: int, config: MixtureConfig, **kwargs: Any):
        """Constructs the layer of experts of rank ``low_rank``."""
        super().__init__(**kwargs)
        self._experts, self._low_rank = config.experts, low_rank
        self._down = tf_keras.layers.Dense(config.experts * low_rank, use_bias=False, name="down")
        self._activation = getattr(tf.nn, config.activation) if config.activation != "none" else None
        self._inner = [
            tf_keras.layers.Dense(low_rank, use_bias=False, name=f"inner_{place}")
            for place in range(config.experts * (config.activation != "none"))
        ]
        self._gate = (
            tf_keras.layers.Dense(config.experts, activation=config.gate, use_bias=False, name="gate")
            if config.experts > 1 or config.gate == "sigmoid"
            else None
        )

    def build(self, shape: tuple[tf.TensorShape, tf.TensorShape]) -> None:
        """Makes U and b."""
        size = int(shape[0][-1])
        self._up = tf_keras.layers.Dense(size, use_bias=False, name="up")
        self._bias = self.add_weight(name="bias", shape=(size,), initializer="zeros")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Maps (x_0, x_l) to x_{l+1}."""
        first, current = inputs
        # The gates weigh the experts' r numbers and not their D outputs: U of all experts is one product.
        low = self._down(current)
        if self._activation is not None:
            parts = tf.split(self._activation(low), self._experts, axis=-1)
            low = self._activation(tf.concat([inner(part) for inner, part in zip(self._inner, parts)], -1))
        if self._gate is None:
            return first * (self._up(low) + self._bias) + current
        gates = self._gate(current)
        weighted = tf.reshape(low, [-1, self._experts, self._low_rank]) * gates[:, :, None]
        up = self._up(tf.reshape(weighted, [-1, self._experts * self._low_rank]))
        return first * (up + tf.reduce_sum(gates, -1, keepdims=True) * self._bias) + current


class DCNV2(Interaction):
    """Cross network and deep network over the concatenated fields, side by side or one on the other.

    Shapes: ``[N, F, d]`` to ``[N, F d + deep.layers[-1]]`` (parallel) or ``[N, deep.layers[-1]]`` (stacked).
    """

    CONFIG = DCNV2Config
    config: DCNV2Config

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._cross = [self._cross_layer(f"cross_{place}") for place in range(self.config.cross_layers)]
        self._deep = DeepNetwork(self.config.deep, name="deep") if self.config.deep.layers else None

    def _cross_layer(self, name: str) -> tf_keras.layers.Layer:
        if self.config.mixture is not None and self.config.low_rank is not None:
            return MixtureCrossLayer(self.config.low_rank, self.config.mixture, name=name)
        return CrossLayer(self.config.low_rank, name=name)

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to both networks' outputs, one after the other, or to the upper network's."""
        first = flatten(fields)
        crossed = first
        for layer in self._cross:
            crossed = layer((first, crossed))
        if self._deep is None:
            return crossed
        if self.config.structure == "stacked":
            return self._deep(crossed, training=training)
        return tf.concat([crossed, self._deep(first, training=training)], -1)
