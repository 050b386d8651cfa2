"""A deep network over the concatenated fields, which learns interactions implicitly: the plain DNN."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork
from crossrec.components.modeling.interactions.interaction import Interaction, flatten


class MLPConfig(Frozen):
    """A plain deep network.

    Attributes:
        type: Names this interaction in the spec.
        deep: Its layers.
    """

    type: Literal["mlp"] = "mlp"
    deep: DeepConfig = DeepConfig()


class MLP(Interaction):
    """Shapes: ``[N, F, d]`` to ``[N, deep.layers[-1]]``."""

    CONFIG = MLPConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._deep = DeepNetwork(self.config.deep, name="deep")

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to the last layer's outputs."""
        return self._deep(flatten(fields), training=training)
