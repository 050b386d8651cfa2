"""Towers: features of one side to one embedding (Covington, Adams, Sargin 2016; Yi et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from pydantic import Field, PositiveInt

from crossrec.components.features.config import Frozen
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.modeling.fields import Fields
from crossrec.components.modeling.inputs import Tensors, with_crosses


class TowerConfig(Frozen):
    """One side of the two-tower model.

    Attributes:
        features: Features of that side, and crosses of them.
        hidden_layers: Units of the dense layers between fields and embedding.
    """

    features: tuple[str, ...] = Field(min_length=1)
    hidden_layers: tuple[PositiveInt, ...] = (128,)


class Tower(tf_keras.Model):
    """Fields, dense layers, one embedding of length one."""

    def __init__(self, schema: FeatureSchema, config: TowerConfig, sizes: TowerSizes, **kwargs: Any):
        """Constructs the tower.

        Args:
            schema: Describes the features.
            config: Which features, which layers.
            sizes: Sizes that both towers share.
            **kwargs: For Keras.
        """
        super().__init__(**kwargs)
        self._schema, self._names = schema, list(config.features)
        self._fields = Fields(schema, config.features, sizes.fields)
        self._normalise = sizes.normalise
        self._hidden = [tf_keras.layers.Dense(units, activation="relu") for units in config.hidden_layers]
        self._dropout = tf_keras.layers.Dropout(sizes.dropout)
        self._output = tf_keras.layers.Dense(sizes.output, dtype="float32")

    def call(self, features: Tensors, training: bool | None = None) -> tf.Tensor:
        """Maps ``{name: [B, width]}`` to float32 ``[B, dimension]``."""
        fields, _ = self._fields(with_crosses(self._schema, features, self._names), self._names)
        hidden = tf.reshape(fields, [-1, fields.shape[-2] * fields.shape[-1]])
        hidden = self._dropout(hidden, training=training)
        for layer in self._hidden:
            hidden = layer(hidden)
        out = self._output(hidden)
        return tf.math.l2_normalize(out, -1) if self._normalise else out


class TowerSizes(Frozen):
    """What the two towers agree on.

    Attributes:
        fields: Size of each feature's vector.
        output: Size of the embedding.
        normalise: Whether embeddings have length one.
        dropout: Share of the fields' numbers dropped in training.
    """

    fields: int
    output: int
    normalise: bool
    dropout: float


def required_features(schema: FeatureSchema, names: Sequence[str]) -> list[str]:
    """The plain features that the named features and crosses are made of."""
    crosses = {cross.name: cross.inputs for cross in schema.crosses}
    return list(dict.fromkeys(part for name in names for part in crosses.get(name, (name,))))
