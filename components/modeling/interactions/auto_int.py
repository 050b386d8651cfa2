r"""AutoInt: fields attend to each other; AutoInt+ with a deep network beside.

Song, Shi, Xiao, Duan, Xu, Zhang, Tang: "AutoInt: Automatic Feature Interaction Learning via Self-Attentive
Neural Networks", CIKM 2019.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork
from crossrec.components.modeling.interactions.interaction import Interaction, flatten


class AutoIntConfig(Frozen):
    """AutoInt.

    Attributes:
        type: Names this interaction in the spec.
        attention_layers: Interacting layers, one on the other.
        heads: Attention heads H of each.
        head_size: Size d' of each head.
        residual: Whether the fields' own projections are added to what they attend to.
        scale: Whether dot products are divided by the root of d', as Transformers do and the paper does not.
        layer_normalisation: Whether each field is normalised before the ReLU.
        dropout: Share of the attention weights dropped in training.
        deep: The deep network beside the attention; none without layers. With layers it is AutoInt+.
    """

    type: Literal["auto_int"] = "auto_int"
    attention_layers: int = Field(default=3, ge=1, le=16)
    heads: int = Field(default=2, ge=1, le=64)
    head_size: int = Field(default=32, ge=1, le=1024)
    residual: bool = True
    scale: bool = False
    layer_normalisation: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)
    deep: DeepConfig = DeepConfig(layers=())


class InteractingLayer(tf_keras.layers.Layer):
    r"""Multi-head self-attention over fields.

    :math:`\alpha^h_{mk} = \mathrm{softmax}_k \langle W^h_Q e_m, W^h_K e_k \rangle`,
    :math:`\tilde{e}_m = [\sum_k \alpha^1_{mk} W^1_V e_k, …, \sum_k \alpha^H_{mk} W^H_V e_k]` and
    :math:`e^{Res}_m = \mathrm{ReLU}(\tilde{e}_m + W_{Res} e_m)`.

    Shapes: e is ``[N, F, in]``, the result ``[N, F, H d']``; each W is ``[in, H d']``, head by head.
    """

    def __init__(self, config: AutoIntConfig, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(**kwargs)
        self._config = config
        units = config.heads * config.head_size
        self._query, self._key, self._value = (
            tf_keras.layers.Dense(units, use_bias=False, name=name) for name in ("query", "key", "value")
        )
        self._residual = tf_keras.layers.Dense(units, use_bias=False, name="residual") if config.residual else None
        self._normalisation = tf_keras.layers.LayerNormalization() if config.layer_normalisation else None
        self._dropout = tf_keras.layers.Dropout(config.dropout)

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps ``[N, F, in]`` to ``[N, F, H d']``."""
        heads, size, count = self._config.heads, self._config.head_size, fields.shape[1]

        def by_head(projected: tf.Tensor) -> tf.Tensor:
            return tf.transpose(tf.reshape(projected, [-1, count, heads, size]), [0, 2, 1, 3])

        query, key, value = (by_head(layer(fields)) for layer in (self._query, self._key, self._value))
        scores = tf.matmul(query, key, transpose_b=True)
        if self._config.scale:
            scores *= size**-0.5
        attention = self._dropout(tf.nn.softmax(scores), training=training)
        attended = tf.transpose(tf.matmul(attention, value), [0, 2, 1, 3])
        out = tf.reshape(attended, [-1, count, heads * size])
        if self._residual is not None:
            out += self._residual(fields)
        if self._normalisation is not None:
            out = self._normalisation(out)
        return tf.nn.relu(out)


class AutoInt(Interaction):
    """Interacting layers over the fields, their last outputs concatenated, beside the deep network if there is one.

    Shapes: ``[N, F, d]`` to ``[N, F heads head_size]``, and ``deep.layers[-1]`` more with a deep network.
    """

    CONFIG = AutoIntConfig
    config: AutoIntConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._attention = [
            InteractingLayer(self.config, name=f"attention_{place}") for place in range(self.config.attention_layers)
        ]
        self._deep = DeepNetwork(self.config.deep, name="deep") if self.config.deep.layers else None

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to the attention's outputs, field by field, then the deep network's."""
        current = fields
        for layer in self._attention:
            current = layer(current, training=training)
        out = flatten(current)
        return out if self._deep is None else tf.concat([out, self._deep(flatten(fields), training=training)], -1)
