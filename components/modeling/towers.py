"""Towers: features of one side to one embedding (Covington, Adams, Sargin 2016; Yi et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field, PositiveInt, model_validator

from crossrec.components.errors import DataError
from crossrec.components.features.frozen import Frozen
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.modeling.cold_start import ColdStartConfig, check_ids, hide_unknown
from crossrec.components.modeling.crosses import Crosses
from crossrec.components.modeling.encoders import EncoderConfig, build_encoder, encode
from crossrec.components.modeling.encoders.query_attention import QueryAttentionConfig
from crossrec.components.modeling.fields import Fields
from crossrec.components.modeling.inputs import Tensors

_DEVIATION = 0.03


class TowerConfig(Frozen):
    """One side of the two-tower model.

    Attributes:
        features: Features of that side, and crosses of them.
        pooling: How the vectors of a feature's n values become one: their ``mean``, or their sum over the root of n
            (``root``; the norm of Koren, "Factorization Meets the Neighborhood", KDD 2008), which grows with what is
            known of a user.
        hidden_layers: Units of the dense layers between fields and embedding.
        output: What makes the embedding of fields or hidden units: a ``dense`` layer, or the ``sum`` of the fields,
            which are then as large as the embedding, so that items and tokens have vectors of their own in it.
        dropout: Share of the fields' numbers dropped in training; that of both towers if left out.
        encoders: Of sequences of recent items, on the query tower: each gives a further field. An item's vector is
            one of its own, or the sum of the fields of the item ``features`` that the encoder names, so that new items
            count too.
        cold_start: Ids that the tower must be able to do without.
    """

    features: tuple[str, ...] = Field(min_length=1)
    pooling: Literal["mean", "root"] = "mean"
    hidden_layers: tuple[PositiveInt, ...] = (128,)
    output: Literal["dense", "sum"] = "dense"
    dropout: float | None = Field(default=None, ge=0, lt=1)
    encoders: tuple[EncoderConfig, ...] = ()
    cold_start: ColdStartConfig | None = None

    @model_validator(mode="after")
    def _sum_has_no_layers(self) -> TowerConfig:
        if self.output == "sum" and self.hidden_layers:
            raise ValueError(
                f"output 'sum' adds fields up, but hidden_layers is {list(self.hidden_layers)}. "
                "Set 'hidden_layers: []', or 'output: dense'"
            )
        return self

    @model_validator(mode="after")
    def _cold_features_are_there(self) -> TowerConfig:
        missing = sorted(set(self.cold_start.features) - set(self.features)) if self.cold_start is not None else ()
        if missing:
            raise ValueError(
                f"cold_start.features {missing} are not on this tower, which has {list(self.features)}. "
                "Name some of those"
            )
        return self


def history_key(sequence: str, feature: str) -> str:
    """Where a tower finds an item feature ``[B, L, width]`` of the items of a sequence ``[B, L]``."""
    return f"{sequence}@{feature}"


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
        check_encoders(schema, config.encoders)
        if config.cold_start is not None:
            check_ids(schema, config.cold_start)
        self._names = list(config.features)
        self._crosses = Crosses(schema, config.features)
        of_items = [name for encoder in config.encoders for name in encoder.features or ()]
        self._fields = Fields(schema, list(dict.fromkeys([*config.features, *of_items])), sizes.fields)
        self._encoder_configs, self._cold_start = config.encoders, config.cold_start
        self._encoders = [
            build_encoder(encoder, name=f"encoder_{place}") for place, encoder in enumerate(config.encoders)
        ]
        own = [encoder for encoder in config.encoders if encoder.features is None]
        self._own_vectors = (
            tf_keras.layers.Embedding(
                schema.items,
                sizes.fields,
                embeddings_initializer=tf_keras.initializers.RandomNormal(stddev=_DEVIATION),
                name="own_vectors",
            )
            if own
            else None
        )
        self._normalise, self._pooling = sizes.normalise, config.pooling
        self._hidden = [tf_keras.layers.Dense(units, activation="relu") for units in config.hidden_layers]
        self._dropout = tf_keras.layers.Dropout(sizes.dropout if config.dropout is None else config.dropout)
        self._output = tf_keras.layers.Dense(sizes.output, dtype="float32") if config.output == "dense" else None

    def call(self, features: Tensors, training: bool | None = None, row: Tensors | None = None) -> tf.Tensor:
        """Maps features to embeddings.

        Args:
            features: ``{name: [B, width]}``, of sequences with an encoder also what ``history_key`` says.
            training: Whether numbers are dropped.
            row: See Crosses.

        Returns:
            float32 ``[B, dimension]``.
        """
        if self._cold_start is not None:
            features = hide_unknown(features, self._cold_start, training)
        inputs = self._crosses(features, row=row)
        fields, _ = self._fields(inputs, self._names)
        if self._pooling == "root":
            fields *= self._roots(inputs, fields)
        if self._encoders:
            fields = tf.concat([fields, self._encode(features, training)], -2)
        fields = self._dropout(fields, training=training)
        if self._output is None:
            out = tf.cast(tf.reduce_sum(fields, -2), tf.float32)
        else:
            hidden = tf.reshape(fields, [-1, fields.shape[-2] * fields.shape[-1]])
            for layer in self._hidden:
                hidden = layer(hidden)
            out = self._output(hidden)
        return tf.math.l2_normalize(out, -1) if self._normalise else out

    def _encode(self, features: Tensors, training: bool | None) -> tf.Tensor:
        """One field per encoder, ``[B, encoders, D]``."""
        found = []
        for config, layer in zip(self._encoder_configs, self._encoders):
            rows = features[config.sequence]
            present = rows >= 0
            if config.features is None and self._own_vectors is not None:
                vectors = self._own_vectors(tf.maximum(rows, 0))
            else:
                names = list(config.features or ())
                of_items = {name: features[history_key(config.sequence, name)] for name in names}
                vectors = tf.reduce_sum(self._fields(of_items, names)[0], -2)
            vectors *= tf.cast(present, vectors.dtype)[..., None]
            if isinstance(config, QueryAttentionConfig):
                keys = features[history_key(config.sequence, config.keys)]
                found.append(layer((features[config.query], keys, vectors, present)))
            else:
                found.append(encode(layer, vectors, present, training))
        return tf.stack(found, -2)

    def _roots(self, inputs: Tensors, fields: tf.Tensor) -> tf.Tensor:
        """Root of the number of values of each field ``[B, fields, 1]``; dense fields, which come last, have one."""
        ids = [inputs[name] for name in self._names if inputs[name].dtype.is_integer]
        counts = [tf.reduce_sum(tf.cast(values >= 0, fields.dtype), -1) for values in ids]
        counts += [tf.ones_like(fields[:, 0, 0])] * (fields.shape[-2] - len(ids))
        return tf.sqrt(tf.stack(counts, -1))[..., None]


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


def check_encoders(schema: FeatureSchema, configs: Sequence[EncoderConfig]) -> None:
    """Looks whether the encoders have sequences to encode and item features to see them by.

    Raises:
        DataError: A feature is not what an encoder wants.
    """
    sequences = [feature.name for feature in schema.side("query") if feature.kind == "items"]
    of_items = [feature.name for feature in schema.side("item")]
    for config in configs:
        if config.sequence not in sequences:
            raise DataError(
                "retrieval.query.encoders.sequence",
                f"{config.sequence!r} is no feature of type recent_items",
                f"Name one of them: {', '.join(sequences) or 'there is none; add one to features.query'}.",
            )
        for name in config.features or ():
            if name not in of_items:
                raise DataError(
                    "retrieval.query.encoders.features",
                    f"{name!r} is no item feature",
                    f"Name some of them: {', '.join(of_items)}.",
                )
        if isinstance(config, QueryAttentionConfig):
            _check_vectors(schema, config)


def _check_vectors(schema: FeatureSchema, config: QueryAttentionConfig) -> None:
    widths = []
    for field, side, name in (("query", "query", config.query), ("keys", "item", config.keys)):
        dense = {feature.name: feature.width for feature in schema.features if feature.kind == "dense"}
        known = [feature.name for feature in schema.features if feature.name in dense and feature.side == side]
        if name not in known:
            raise DataError(
                f"retrieval.query.encoders.{field}",
                f"{name!r} is no {side} feature that gives a vector",
                f"Name one of them: {', '.join(known) or '(none); add a text with an encoder'}.",
            )
        widths.append(dense[name])
    if widths[0] != widths[1]:
        raise DataError(
            "retrieval.query.encoders.keys",
            f"{config.keys!r} has {widths[1]} numbers, and the query's {config.query!r} has {widths[0]}",
            "Use two texts with one encoder.",
        )


def required_features(schema: FeatureSchema, names: Sequence[str]) -> list[str]:
    """The plain features that the named features and crosses are made of."""
    crosses = {cross.name: cross.inputs for cross in schema.crosses}
    return list(dict.fromkeys(part for name in names for part in crosses.get(name, (name,))))
