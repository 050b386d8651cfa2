r"""DCN-V2: explicit crosses of bounded degree beside a deep network.

Wang, Shivanna, Cheng, Jain, Lin, Hong, Chi: "DCN V2: Improved Deep & Cross Network and Practical Lessons
for Web-scale Learning to Rank Systems", WWW 2021.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field

from crossrec.components.features.config import Frozen
from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork
from crossrec.components.modeling.interactions.interaction import Interaction, flatten


class DCNV2Config(Frozen):
    """DCN-V2.

    Attributes:
        type: Names this interaction in the spec.
        cross_layers: Cross layers, one less than the highest degree of a cross.
        low_rank: Rank r of W = U V, U ``[D, r]``, V ``[r, D]``; a full matrix if left out.
        deep: The deep network beside the cross network.
    """

    type: Literal["dcn_v2"] = "dcn_v2"
    cross_layers: int = Field(default=2, ge=1, le=16)
    low_rank: int | None = Field(default=None, ge=1)
    deep: DeepConfig = DeepConfig()


class CrossLayer(tf_keras.layers.Layer):
    r"""One cross layer: :math:`x_{l+1} = x_0 \odot (W x_l + b) + x_l`, all ``[N, D]``."""

    def __init__(self, low_rank: int | None = None, **kwargs: Any):
        """Constructs the layer; ``low_rank`` as in DCNV2Config."""
        super().__init__(**kwargs)
        self._low_rank = low_rank

    def build(self, shape: tuple[tf.TensorShape, tf.TensorShape]) -> None:
        """Makes W (or U and V) and b."""
        size = int(shape[0][-1])
        self._down = tf_keras.layers.Dense(self._low_rank, use_bias=False) if self._low_rank else None
        self._up = tf_keras.layers.Dense(size)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Maps (x_0, x_l) to x_{l+1}."""
        first, current = inputs
        projected = self._down(current) if self._down is not None else current
        return first * self._up(projected) + current


class DCNV2(Interaction):
    """Cross network and deep network side by side over the concatenated fields.

    Shapes: ``[N, F, d]`` to ``[N, F d + deep.layers[-1]]``.
    """

    CONFIG = DCNV2Config

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._cross = [CrossLayer(self.config.low_rank, name=f"cross_{i}") for i in range(self.config.cross_layers)]
        self._deep = DeepNetwork(self.config.deep, name="deep") if self.config.deep.layers else None

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to both networks' outputs, one after the other."""
        first = flatten(fields)
        crossed = first
        for layer in self._cross:
            crossed = layer((first, crossed))
        return crossed if self._deep is None else tf.concat([crossed, self._deep(first, training=training)], -1)
