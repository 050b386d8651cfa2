r"""MaskNet: each example multiplies its own hidden layers by a mask computed from its fields.

Wang, She, Zhang: "MaskNet: Introducing Feature-Wise Multiplication to CTR Ranking Models by Instance-Guided Mask",
DLP-KDD 2021.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field, PositiveInt

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork
from crossrec.components.modeling.interactions.interaction import Interaction, flatten

_EPSILON = 1e-5


class MaskNetConfig(Frozen):
    """MaskNet.

    Attributes:
        type: Names this interaction in the spec.
        structure: ``serial``, each block over the one before; ``parallel``, all blocks over the fields.
        blocks: Units of each mask block.
        reduction_ratio: Units of a mask's aggregation layer per unit of the mask.
        field_normalisation: Whether the blocks get each field normalised over its numbers (LN_EMB).
        block_normalisation: Whether each block is normalised before its activation (LN_HID).
        dropout: Share of each block's outputs dropped in training.
        deep: The layers after the blocks; none if its ``layers`` are empty, as in the paper's serial model.
    """

    type: Literal["masknet"] = "masknet"
    structure: Literal["serial", "parallel"] = "parallel"
    blocks: tuple[PositiveInt, ...] = Field(default=(64, 64, 64, 64, 64), min_length=1)
    reduction_ratio: float = Field(default=2.0, gt=0, le=100)
    field_normalisation: bool = True
    block_normalisation: bool = True
    dropout: float = Field(default=0.0, ge=0, lt=1)
    deep: DeepConfig = DeepConfig(layers=(400, 400))


class FieldNormalisation(tf_keras.layers.Layer):
    r"""Layer normalisation :math:`g_i \odot (e_i - \mu_i) / \sqrt{\sigma_i^2 + 10^{-5}} + b_i` of each field.

    Shapes: ``[N, F, d]`` to ``[N, F, d]``; gain g and bias b ``[F, d]``.
    """

    def build(self, shape: tf.TensorShape) -> None:
        """Makes gain and bias."""
        sizes = [int(shape[1]), int(shape[2])]
        self._normalise = tf_keras.layers.LayerNormalization(epsilon=_EPSILON, center=False, scale=False)
        self._gain = self.add_weight(name="gain", shape=sizes, initializer="ones")
        self._bias = self.add_weight(name="bias", shape=sizes, initializer="zeros")

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Normalises each field over its d numbers."""
        return self._normalise(fields) * self._gain + self._bias


class MaskBlock(tf_keras.layers.Layer):
    r""":math:`\mathrm{ReLU}(\mathrm{LN}(W_3 (m \odot h)))`, :math:`m = W_2 \mathrm{ReLU}(W_1 v + b_1) + b_2`.

    Shapes: fields v ``[N, F d]`` and what is masked h ``[N, D]`` to ``[N, units]``; W_1 ``[F d, reduction_ratio D]``.
    """

    def __init__(self, units: int, config: MaskNetConfig, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(**kwargs)
        self._ratio = config.reduction_ratio
        self._hidden = tf_keras.layers.Dense(units, use_bias=False, name="hidden")
        self._normalise = (
            tf_keras.layers.LayerNormalization(epsilon=_EPSILON, name="normalise")
            if config.block_normalisation
            else None
        )
        self._dropout = tf_keras.layers.Dropout(config.dropout)

    def build(self, shape: tuple[tf.TensorShape, tf.TensorShape]) -> None:
        """Makes the mask's two layers."""
        size = int(shape[1][-1])
        self._aggregate = tf_keras.layers.Dense(max(1, int(size * self._ratio)), activation="relu", name="aggregate")
        self._project = tf_keras.layers.Dense(size, name="project")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Maps (v, h) to the block's output."""
        guide, masked = inputs
        hidden = self._hidden(self._project(self._aggregate(guide)) * masked)
        if self._normalise is not None:
            hidden = self._normalise(hidden)
        return self._dropout(tf.nn.relu(hidden), training=training)


class MaskNet(Interaction):
    """Mask blocks one after the other or side by side, and a deep network over them.

    Shapes: ``[N, F, d]`` to ``[N, deep.layers[-1]]``; without layers to the last block's units (serial) or to the
    sum of all blocks' (parallel).
    """

    CONFIG = MaskNetConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._normalise = FieldNormalisation(name="fields") if self.config.field_normalisation else None
        self._blocks = [
            MaskBlock(units, self.config, name=f"block_{place}") for place, units in enumerate(self.config.blocks)
        ]
        self._deep = DeepNetwork(self.config.deep, name="deep")

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to the output of the last layer."""
        guide = flatten(fields)
        hidden = flatten(self._normalise(fields)) if self._normalise is not None else guide
        if self.config.structure == "serial":
            for block in self._blocks:
                hidden = block((guide, hidden), training=training)
        else:
            hidden = tf.concat([block((guide, hidden), training=training) for block in self._blocks], -1)
        return self._deep(hidden, training=training)
