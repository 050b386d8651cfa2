"""The ranking model as a TFRS model."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import (
    ITEM_ROW,
    POSITION,
    RETRIEVAL_SCORE,
    WEIGHT,
    FeatureSchema,
    label_key,
)
from crossrec.components.modeling.fields import FieldEmbedding, Fields
from crossrec.components.modeling.inputs import ItemFeatures, Tensors
from crossrec.components.modeling.interactions.dcn_v2 import DCNV2
from crossrec.components.modeling.towers import required_features
from crossrec.components.modeling.training import TrainableModel
from crossrec.components.ranking_trainer.config import RankingConfig

_POSITIONS = 256


class RankingModel(TrainableModel):
    """Fields of query, item and crosses; a linear part and an interaction; one logit per task."""

    def __init__(self, schema: FeatureSchema, config: RankingConfig, table: ItemTable, **kwargs: Any):
        """Constructs the model.

        Args:
            schema: Describes features and crosses.
            config: Which of them, and how they meet.
            table: The catalogue's features.
            **kwargs: For Keras.
        """
        super().__init__(**kwargs)
        self.tasks, self._l2 = config.tasks, config.l2
        crosses = tuple(c.name for c in schema.crosses) if config.crosses is None else config.crosses
        names = [*config.features, *crosses]
        needed = required_features(schema, names)
        self._query_names = [name for name in needed if schema.feature(name).side == "query"]
        self._items = ItemFeatures(table, [name for name in needed if schema.feature(name).side == "item"])
        self._fields = Fields(schema, names, config.embedding_dimension, name="fields")
        self._linear = Fields(schema, names, len(config.tasks), name="linear")
        self._score_field = (
            FieldEmbedding(0, config.embedding_dimension, name="retrieval_score") if config.retrieval_score else None
        )
        self._dropout = tf_keras.layers.Dropout(config.dropout)
        self._interaction = DCNV2(config.interaction, name="interaction")
        self._heads = tf_keras.layers.Dense(len(config.tasks), dtype="float32", name="heads")
        self._positions = (
            tf_keras.layers.Embedding(_POSITIONS, len(config.tasks), embeddings_initializer="zeros", name="positions")
            if config.position_bias
            else None
        )
        self._task = tfrs.tasks.Ranking(
            loss=tf_keras.losses.BinaryCrossentropy(from_logits=True, reduction=tf_keras.losses.Reduction.SUM)
        )

    def logits(self, query: Tensors, rows: tf.Tensor, retrieval_scores: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits of candidates, the position's part left out.

        Args:
            query: Query features ``{name: [B, width]}``.
            rows: Item rows ``[B, C]``; negative is an unknown item.
            retrieval_scores: float32 ``[B, C]``.
            training: Whether dropout is on.

        Returns:
            float32 ``[B, C, tasks]``.
        """
        return self._logits(query, rows, retrieval_scores, training)[0]

    def _logits(
        self, query: Tensors, rows: tf.Tensor, retrieval_scores: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The logits, and the mean squared length of an example's fields."""
        features = {name: query[name][:, None, :] for name in self._query_names} | self._items(rows)
        fields = self._fields(features)
        penalty = tf.add_n([tf.reduce_mean(tf.reduce_sum(tf.square(tf.cast(f, tf.float32)), -1)) for f in fields])
        if self._score_field is not None:
            fields.append(self._score_field(retrieval_scores[..., None]))
        shape = tf.shape(rows)
        size = fields[0].shape[-1]
        full = [tf.broadcast_to(field, [shape[0], shape[1], size]) for field in fields]
        stacked = tf.reshape(tf.stack(full, 2), [-1, len(full), size])
        hidden = self._interaction(self._dropout(stacked, training=training), training=training)
        out = tf.reshape(self._heads(hidden), [shape[0], shape[1], len(self.tasks)])
        for part in self._linear(features):
            out += tf.cast(part, tf.float32)
        return out, penalty

    def position_logits(self, positions: tf.Tensor) -> tf.Tensor | float:
        """The part of places (from 1; 0 is a row that was never shown) ``[...]`` as ``[..., tasks]``."""
        if self._positions is None:
            return 0.0
        return tf.cast(self._positions(tf.clip_by_value(positions, 0, _POSITIONS - 1)), tf.float32)

    def probabilities(self, query: Tensors, rows: tf.Tensor, retrieval_scores: tf.Tensor) -> tf.Tensor:
        """Probabilities of each task, as if shown in the first place; shapes as for ``logits``."""
        first = self.position_logits(tf.ones_like(rows[:1, :1]))
        return tf.sigmoid(self.logits(query, rows, retrieval_scores) + first)

    def score(self, probabilities: tf.Tensor) -> tf.Tensor:
        """The weighted sum over tasks that orders items: ``[B, C, tasks]`` to ``[B, C]``."""
        return tf.tensordot(probabilities, tf.constant([task.score_weight for task in self.tasks]), 1)

    def compute_loss(self, inputs: Tensors, training: bool = False) -> tf.Tensor:
        """Weighted mean of the tasks' cross-entropies."""
        logits, penalty = self._logits(inputs, inputs[ITEM_ROW], inputs[RETRIEVAL_SCORE], training)
        logits = logits[:, 0]
        if self._positions is not None and POSITION in inputs:
            logits += self.position_logits(inputs[POSITION][:, 0])
        total = tf.constant(0.0)
        rows = tf.cast(tf.shape(logits)[0], tf.float32)
        for column, task in enumerate(self.tasks):
            total += task.weight * self._task(
                labels=inputs[label_key(task.label_column)],
                predictions=logits[:, column : column + 1],
                sample_weight=inputs[WEIGHT],
                compute_metrics=False,
            )
        replicas = self.distribute_strategy.num_replicas_in_sync
        return (total / rows + self._l2 * penalty) / replicas
