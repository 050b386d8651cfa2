"""The ranking model as a TFRS model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import (
    ITEM_ROW,
    POSITION,
    WEIGHT,
    FeatureSchema,
    label_key,
)
from crossrec.components.modeling import heads, interactions, interest
from crossrec.components.modeling.crosses import Crosses, named_crosses, row_of
from crossrec.components.modeling.fields import Fields
from crossrec.components.modeling.inputs import ItemFeatures, Tensors
from crossrec.components.modeling.interest.vectors import default_features, flatten_fields
from crossrec.components.modeling.replicas import replicas, sum_over_replicas
from crossrec.components.modeling.towers import required_features
from crossrec.components.modeling.training import TrainableModel
from crossrec.components.ranking_examples.lists import LIST
from crossrec.components.ranking_trainer import list_loss
from crossrec.components.ranking_trainer.config import RankingConfig, TaskConfig

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
        self.tasks, self._l2, self._table_l2 = config.tasks, config.l2, config.table_l2
        names = [*config.features, *named_crosses(schema, config.crosses)]
        self._interest_names = [part.features or default_features(schema, config.features) for part in config.interest]
        of_interest = [name for part in self._interest_names for name in part]
        needed = required_features(schema, [*names, *(part.sequence for part in config.interest), *of_interest])
        of_query = {f.name for f in schema.side("query")} | {c.name for c in schema.crosses if c.side == "query"}
        self._query_inputs = [name for name in needed if name in of_query]
        self._query_names = [name for name in names if name in of_query]
        self._candidate_names = [name for name in names if name not in of_query]
        self._items = ItemFeatures(table, [name for name in needed if name not in of_query])
        self._crosses = Crosses(schema, names)
        every = list(dict.fromkeys([*names, *of_interest]))
        self._fields = Fields(schema, every, config.embedding_dimension, len(config.tasks), name="fields")
        # a, b and c of each task, see fusion.py; fitted after training.
        self._fusion = tf.Variable([[1.0, 0.0, 0.0]] * len(config.tasks), trainable=False, name="fusion")
        self._dropout = tf_keras.layers.Dropout(config.dropout)
        self._interactions = [
            interactions.build(part, name=f"interaction_{place}") for place, part in enumerate(config.interactions)
        ]
        self._interest = [interest.build(part, name=f"interest_{place}") for place, part in enumerate(config.interest)]
        self._heads = heads.build(config.heads, len(config.tasks), name="heads")
        self._positions = (
            tf_keras.layers.Embedding(_POSITIONS, len(config.tasks), embeddings_initializer="zeros", name="positions")
            if config.position_bias
            else None
        )
        self._task = tfrs.tasks.Ranking(
            loss=tf_keras.losses.BinaryCrossentropy(from_logits=True, reduction=tf_keras.losses.Reduction.SUM)
        )

    def _logits(self, query: Tensors, rows: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Logits, penalty and what the heads saw.

        Logits ``[B, C, tasks]`` are without the position's part, the penalty ``[B]`` is the mean squared length of
        each example's fields, and last come the interactions' outputs ``[B C, units]``.
        """
        of_query = {name: query[name][:, None, :] for name in self._query_inputs}
        of_candidate = of_query | self._items(rows)
        row = row_of(query, training)
        row = row and {name: values[:, None, :] for name, values in row.items()}
        groups = [
            self._fields(self._crosses(features, names, row), names)
            for features, names in ((of_query, self._query_names), (of_candidate, self._candidate_names))
            if names
        ]
        penalty = tf.add_n(
            [tf.reduce_mean(tf.reduce_sum(tf.square(tf.cast(f, tf.float32)), -1), [1, 2]) for f, _ in groups]
        )
        fields = [field for field, _ in groups] + self._interests(query, of_candidate, training)
        shape = tf.shape(rows)
        size = fields[0].shape[-1]
        full = [tf.broadcast_to(field, [shape[0], shape[1], field.shape[2], size]) for field in fields]
        stacked = tf.concat(full, 2)
        stacked = tf.reshape(stacked, [-1, stacked.shape[2], size])
        stacked = self._dropout(stacked, training=training)
        hidden = [interaction(stacked, training=training) for interaction in self._interactions]
        out = tf.reshape(self._heads(tf.concat(hidden, -1), training=training), [shape[0], shape[1], len(self.tasks)])
        for _, linear in groups:
            out += tf.cast(linear, tf.float32)
        return out, penalty, hidden

    def _interests(self, query: Tensors, of_candidate: Tensors, training: bool) -> list[tf.Tensor]:
        """A group of fields ``[B, C, features, d]`` of each interest.

        An interest's feature is a field of its own, so that it meets the same feature of the candidate.
        """
        histories: dict[Any, tf.Tensor] = {}
        out = []
        for layer, names in zip(self._interest, self._interest_names):
            rows = query[layer.config.sequence]
            source = (layer.config.sequence, tuple(names))
            if source not in histories:
                histories[source] = flatten_fields(self._fields(self._items(rows, names), names)[0])
            candidates = self._fields(of_candidate, names)[0]
            found = layer((flatten_fields(candidates), histories[source], rows >= 0), training=training)
            out.append(tf.reshape(found, tf.shape(candidates)))
        return out

    def position_logits(self, positions: tf.Tensor) -> tf.Tensor | float:
        """The part of places (from 1; 0 is a row that was never shown) ``[...]`` as ``[..., tasks]``."""
        if self._positions is None:
            return 0.0
        return tf.cast(self._positions(tf.clip_by_value(positions, 0, _POSITIONS - 1)), tf.float32)

    def logits(self, query: Tensors, rows: tf.Tensor, positions: tf.Tensor | None = None) -> tf.Tensor:
        """The network's logits.

        Args:
            query: Query features ``{name: [B, width]}``.
            rows: Item rows ``[B, C]``; negative is an unknown item.
            positions: Places ``[B, C]``; the first if left out.

        Returns:
            float32 ``[B, C, tasks]``.
        """
        return self._logits(query, rows, training=False)[0] + self._of_places(rows, positions)

    def _of_places(self, rows: tf.Tensor, positions: tf.Tensor | None) -> tf.Tensor | float:
        return self.position_logits(tf.ones_like(rows[:1, :1]) if positions is None else positions)

    def probabilities(
        self, query: Tensors, rows: tf.Tensor, retrieval_scores: tf.Tensor, positions: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Probabilities of each binary task, and numbers from 0 to 1 that grow with the scores of each graded one.

        Args:
            query: Query features ``{name: [B, width]}``.
            rows: Item rows ``[B, C]``; negative is an unknown item.
            retrieval_scores: float32 ``[B, C]``.
            positions: Places ``[B, C]``; the first if left out, as serving does.

        Returns:
            float32 ``[B, C, tasks]``.
        """
        return self.probabilities_at(query, rows, retrieval_scores, [positions])[0]

    def probabilities_at(
        self, query: Tensors, rows: tf.Tensor, retrieval_scores: tf.Tensor, places: Sequence[tf.Tensor | None]
    ) -> list[tf.Tensor]:
        """As ``probabilities``, at each of several places; the network runs once."""
        a, b, c = tf.unstack(self._fusion, axis=1)
        # The score of an excluded item is minus infinity, which times zero would be no number.
        scores = tf.maximum(retrieval_scores, tf.float32.min / 1e9)[..., None]
        logits = self._logits(query, rows, training=False)[0]
        return [tf.sigmoid(a * (logits + self._of_places(rows, each)) + b * scores + c) for each in places]

    def set_fusion(self, parameters: Array) -> None:
        """Sets a, b, c of each task, float32 ``[tasks, 3]``."""
        self._fusion.assign(parameters)

    def score(self, probabilities: tf.Tensor) -> tf.Tensor:
        """The weighted sum over tasks that orders items: ``[B, C, tasks]`` to ``[B, C]``."""
        return tf.tensordot(probabilities, tf.constant([task.score_weight for task in self.tasks]), 1)

    def _auxiliary_loss(self, logits: tf.Tensor, hidden: list[tf.Tensor], inputs: Tensors) -> tf.Tensor:
        """The weighted sum over rows and binary tasks of the losses that interactions have of their own."""
        labels = tf.concat([inputs[label_key(task.label_column)] for task in self.tasks], -1)
        weights = inputs[WEIGHT] * [task.weight if task.type == "binary" else 0.0 for task in self.tasks]
        # Without dropout: else the rest of the logits would hold the difference of two draws.
        rest = logits - self._heads(tf.concat(hidden, -1), training=False)
        total = tf.constant(0.0)
        for place, interaction in enumerate(self._interactions):

            def whole(alone: tf.Tensor, place: int = place) -> tf.Tensor:
                return rest + self._heads(tf.concat([*hidden[:place], alone, *hidden[place + 1 :]], -1), training=False)

            losses = interaction.auxiliary_losses(hidden[place], whole, labels)
            if losses is not None:
                total += tf.reduce_sum(weights * losses)
        return total

    def _list_losses(self, task: TaskConfig, logits: tf.Tensor, inputs: Tensors) -> tf.Tensor:
        """A graded task's loss of each list, ``[L]``."""
        gains = list_loss.gains_of(inputs[label_key(task.label_column)][:, 0], task.gain)
        mask, padded = list_loss.by_list(inputs[LIST][:, 0], (logits, gains, inputs[WEIGHT][:, 0]))
        return list_loss.LOSSES[task.loss](mask, *padded)

    def compute_loss(self, inputs: Tensors, training: bool = False) -> tf.Tensor:
        """Part of this device in the weighted mean of the tasks' losses over the whole batch.

        Those of binary tasks are means over rows, those of graded ones over lists.
        """
        logits, penalty, hidden = self._logits(inputs, inputs[ITEM_ROW], training)
        logits = logits[:, 0]
        if self._positions is not None and POSITION in inputs:
            logits += self.position_logits(inputs[POSITION][:, 0])
        total = self._auxiliary_loss(logits, hidden, inputs) if training else tf.constant(0.0)
        total += self._l2 * tf.reduce_sum(penalty)
        rows = sum_over_replicas(tf.cast(tf.shape(logits)[0], tf.float32))
        for column, task in enumerate(self.tasks):
            if task.type == "graded":
                losses = self._list_losses(task, logits[:, column], inputs)
                lists = sum_over_replicas(tf.cast(tf.size(losses), tf.float32))
                total += task.weight * tf.math.divide_no_nan(tf.reduce_sum(losses), lists) * rows
                continue
            labels, weights = inputs[label_key(task.label_column)], inputs[WEIGHT]
            total += task.weight * self._task(
                labels=labels,
                # Weighted rows have other log-odds than rows as they are, and those the logits shall be.
                predictions=logits[:, column : column + 1] + math.log(task.positive_weight),
                sample_weight=weights * (1.0 + (task.positive_weight - 1.0) * labels),
                compute_metrics=False,
            )
        # A device may have fewer rows than another, or none, of the last batch of a pass.
        total /= rows
        if self._table_l2:
            tables = tf.add_n([tf.nn.l2_loss(weight) for weight in self._fields.trainable_weights])
            total += self._table_l2 * tables / replicas()
        return total
