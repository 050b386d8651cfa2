r"""GDCN: cross layers whose crosses pass a gate.

Wang, Gu, Li, Lu, Zhang, Gu: "Towards Deeper, Lighter and Interpretable Cross Network for CTR Prediction", CIKM 2023.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork
from crossrec.components.modeling.interactions.interaction import Interaction, flatten


class GDCNConfig(Frozen):
    """GDCN.

    Attributes:
        type: Names this interaction in the spec.
        structure: ``parallel``, both networks over the fields (GDCN-P); ``stacked``, the deep one over the crosses
            (GDCN-S).
        cross_layers: Gated cross layers, one less than the highest degree of a cross.
        deep: The deep network.
    """

    type: Literal["gdcn"] = "gdcn"
    structure: Literal["parallel", "stacked"] = "parallel"
    cross_layers: int = Field(default=3, ge=1, le=16)
    deep: DeepConfig = DeepConfig(layers=(400, 400, 400))


class GatedCrossLayer(tf_keras.layers.Layer):
    r""":math:`c_{l+1} = c_0 \odot (W_c c_l + b) \odot \sigma(W_g c_l) + c_l`, all ``[N, D]``."""

    def build(self, shape: tuple[tf.TensorShape, tf.TensorShape]) -> None:
        """Makes W_c, b and W_g, which has no bias."""
        size = int(shape[0][-1])
        self._cross = tf_keras.layers.Dense(size, name="cross")
        self._gate = tf_keras.layers.Dense(size, activation="sigmoid", use_bias=False, name="gate")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Maps (c_0, c_l) to c_{l+1}."""
        first, current = inputs
        return first * self._cross(current) * self._gate(current) + current


class GDCN(Interaction):
    """Gated cross network, with a deep network beside or behind it.

    Shapes: ``[N, F, d]`` to ``[N, F d + deep.layers[-1]]`` (parallel) or ``[N, deep.layers[-1]]`` (stacked), and to
    ``[N, F d]`` where the deep network has no layers.
    """

    CONFIG = GDCNConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._cross = [GatedCrossLayer(name=f"cross_{place}") for place in range(self.config.cross_layers)]
        self._deep = DeepNetwork(self.config.deep, name="deep") if self.config.deep.layers else None

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to the networks' output."""
        first = crossed = flatten(fields)
        for layer in self._cross:
            crossed = layer((first, crossed))
        if self._deep is None:
            return crossed
        if self.config.structure == "stacked":
            return self._deep(crossed, training=training)
        return tf.concat([crossed, self._deep(first, training=training)], -1)
