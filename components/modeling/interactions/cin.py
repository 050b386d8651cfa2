r"""xDeepFM: a compressed interaction network (CIN) beside a deep network.

Lian, Zhou, Zhang, Chen, Xie, Sun: "xDeepFM: Combining Explicit and Implicit Feature Interactions for
Recommender Systems", KDD 2018.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field, PositiveInt, model_validator

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork
from crossrec.components.modeling.interactions.interaction import Interaction, flatten


class XDeepFMConfig(Frozen):
    """XDeepFM.

    Attributes:
        type: Names this interaction in the spec.
        cin_layers: Feature maps of each layer of the CIN.
        split_half: Whether half of the feature maps of each layer but the last goes on to the next layer
            and the other half to the output; all of them do both if false, as in the paper's formulas.
        activation: Of the feature maps; the paper found none to be best.
        deep: The deep network beside the CIN; none without layers.
    """

    type: Literal["xdeepfm"] = "xdeepfm"
    cin_layers: tuple[PositiveInt, ...] = Field(default=(16, 16, 16), min_length=1, max_length=16)
    split_half: bool = False
    activation: Literal["linear", "relu", "tanh", "sigmoid"] = "linear"
    deep: DeepConfig = DeepConfig()

    @model_validator(mode="after")
    def _halves(self) -> XDeepFMConfig:
        if self.split_half and any(units % 2 for units in self.cin_layers[:-1]):
            raise ValueError(
                f"cin_layers {list(self.cin_layers)} cannot be split in halves. Use even numbers before the last, "
                "or leave 'split_half' out"
            )
        return self


class CINLayer(tf_keras.layers.Layer):
    r"""One layer of the CIN: every feature map before meets every field, dimension by dimension.

    :math:`X^k_h = g(\sum_{i=1}^{H_{k-1}} \sum_{j=1}^{F} W^{k,h}_{ij} (X^{k-1}_i \odot X^0_j))`

    Shapes: X, transposed, is ``[N, d, H]``; W is ``[H_{k-1} F, H_k]``, its rows ordered by i, then j.
    """

    def __init__(self, units: int, activation: str, **kwargs: Any):
        """Constructs the layer of ``units`` feature maps."""
        super().__init__(**kwargs)
        self._compress = tf_keras.layers.Dense(units, activation=activation, use_bias=False, name="compress")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Maps (X^0 ``[N, d, F]``, X^{k-1} ``[N, d, H]``) to X^k ``[N, d, units]``."""
        fields, maps = inputs
        size, pairs = fields.shape[1], maps.shape[2] * fields.shape[2]
        products = tf.reshape(maps[:, :, :, None] * fields[:, :, None, :], [-1, pairs])
        compressed = self._compress(products)
        return tf.reshape(compressed, [-1, size, compressed.shape[-1]])


class XDeepFM(Interaction):
    r"""The CIN's feature maps, each summed over its dimensions, beside the deep network.

    The output of the CIN's layer k is a polynomial of degree k + 1 in the fields (without activation).

    Shapes: ``[N, F, d]`` to ``[N, sum(cin_layers) + deep.layers[-1]]``; with ``split_half`` all CIN layers but the
    last count half.
    """

    CONFIG = XDeepFMConfig
    config: XDeepFMConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._cin = [
            CINLayer(units, self.config.activation, name=f"cin_{place}")
            for place, units in enumerate(self.config.cin_layers)
        ]
        self._deep = DeepNetwork(self.config.deep, name="deep") if self.config.deep.layers else None

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to the pooled feature maps, layer by layer, then the deep network's outputs."""
        first = tf.transpose(fields, [0, 2, 1])
        current, outputs = first, []
        for layer in self._cin:
            shown = current = layer((first, current))
            if self.config.split_half and layer is not self._cin[-1]:
                current, shown = tf.split(current, 2, axis=-1)
            outputs.append(tf.reduce_sum(shown, 1))
        if self._deep is not None:
            outputs.append(self._deep(flatten(fields), training=training))
        return tf.concat(outputs, -1)
