"""DeepFM: a factorisation machine beside a deep network, over the same fields.

Guo, Tang, Ye, Li, He: "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction", IJCAI 2017.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork
from crossrec.components.modeling.interactions.fm import second_order
from crossrec.components.modeling.interactions.interaction import Interaction, flatten


class DeepFMConfig(Frozen):
    """DeepFM.

    Attributes:
        type: Names this interaction in the spec.
        deep: The deep network; none without layers.
    """

    type: Literal["deep_fm"] = "deep_fm"
    deep: DeepConfig = DeepConfig()


class DeepFM(Interaction):
    r""":math:`[\sum_{i<j} \langle v_i, v_j \rangle, \mathrm{deep}([v_1, …, v_F])]`.

    Shapes: ``[N, F, d]`` to ``[N, 1 + deep.layers[-1]]``.
    """

    CONFIG = DeepFMConfig
    config: DeepFMConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._deep = DeepNetwork(self.config.deep, name="deep") if self.config.deep.layers else None

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to both parts' outputs, the factorisation machine's first."""
        out = second_order(fields)
        return out if self._deep is None else tf.concat([out, self._deep(flatten(fields), training=training)], -1)
