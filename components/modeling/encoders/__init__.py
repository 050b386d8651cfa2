"""Encoders: a sequence of recent items to one vector, for towers that know no candidate.

They are the layers of ``crossrec.components.modeling.interest`` that give every candidate the same, asked for one, and
attention of the query itself.
"""

from __future__ import annotations

from typing import Annotated, Any, Union

import tensorflow as tf
import tf_keras
from pydantic import Field

from crossrec.components.modeling.encoders.attention import AttentionConfig
from crossrec.components.modeling.encoders.gru import GRU, GRUConfig
from crossrec.components.modeling.encoders.query_attention import QueryAttention, QueryAttentionConfig
from crossrec.components.modeling.interest.average import Average, AverageConfig
from crossrec.components.modeling.interest.interest import Interest
from crossrec.components.modeling.interest.lstm import LSTM, LSTMConfig
from crossrec.components.modeling.interest.transformer import Transformer

LAYERS: tuple[tuple[Any, type[tf_keras.layers.Layer]], ...] = (
    (AverageConfig, Average),
    (GRUConfig, GRU),
    (LSTMConfig, LSTM),
    (AttentionConfig, Transformer),
    (QueryAttentionConfig, QueryAttention),
)
"""Every encoder that a spec can name."""

EncoderConfig = Annotated[
    Union[AverageConfig, GRUConfig, LSTMConfig, AttentionConfig, QueryAttentionConfig], Field(discriminator="type")
]


def build_encoder(config: Any, **kwargs: Any) -> tf_keras.layers.Layer:
    """The layer of a configuration."""
    layer = next(layer for kind, layer in LAYERS if type(config) is kind)
    return layer(config.of_layer() if isinstance(config, AttentionConfig) else config, **kwargs)


def encode(layer: Interest, vectors: tf.Tensor, present: tf.Tensor, training: bool | None) -> tf.Tensor:
    """What a sequence says, float32 ``[B, D]``; zeros where nothing is present.

    Args:
        layer: From ``build_encoder``, of a type that knows no query.
        vectors: Of the items, the most recent first, ``[B, L, D]``; D and L are static.
        present: bool ``[B, L]``, False where an item is padding.
        training: As in Keras.
    """
    nobody = tf.zeros_like(vectors[:, :1])
    return layer((nobody, vectors, present), training=training)[:, 0]
