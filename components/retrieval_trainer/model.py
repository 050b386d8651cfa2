"""The two-tower model as a TFRS model."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import ITEM_ROW, FeatureSchema
from crossrec.components.modeling.inputs import ItemFeatures, Tensors
from crossrec.components.modeling.towers import Tower, required_features
from crossrec.components.modeling.training import TrainableModel
from crossrec.components.retrieval_trainer.config import RetrievalConfig

_ROWS = 8192


class RetrievalModel(TrainableModel):
    """Query tower and candidate tower, trained by softmax over the items of the batch."""

    def __init__(self, schema: FeatureSchema, config: RetrievalConfig, table: ItemTable, **kwargs: Any):
        """Constructs the model.

        Args:
            schema: Describes the features.
            config: Towers and loss.
            table: The catalogue: item features, and frequencies for the logQ correction.
            **kwargs: For Keras.
        """
        super().__init__(**kwargs)
        self.query_tower = Tower(schema, config.query, config.sizes, name="query_tower")
        self.candidate_tower = Tower(schema, config.item, config.sizes, name="candidate_tower")
        self._query_features = required_features(schema, config.query.features)
        self._items = ItemFeatures(table, required_features(schema, config.item.features))
        self._rows = table.items
        probabilities = sampling_probabilities(table.frequencies)
        self._probabilities = tf.Variable(probabilities, trainable=False, name="sampling_probabilities")
        self._logq = config.loss.logq_correction
        # Traced by itself: the task relies on AutoGraph, which the training step leaves out.
        self._task = tf.function(
            tfrs.tasks.Retrieval(
                loss=tf_keras.losses.CategoricalCrossentropy(from_logits=True, reduction=tf_keras.losses.Reduction.SUM),
                temperature=config.loss.temperature,
                remove_accidental_hits=config.loss.remove_accidental_hits,
            )
        )

    def embed_queries(self, features: Tensors, training: bool = False) -> tf.Tensor:
        """Query features ``{name: [B, width]}`` to float32 ``[B, dimension]``."""
        return self.query_tower({name: features[name] for name in self._query_features}, training=training)

    def embed_items(self, rows: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Item rows ``[B]`` (negative: an unknown item) to float32 ``[B, dimension]``."""
        return self.candidate_tower(self._items(rows), training=training)

    def compute_loss(self, inputs: Tensors, training: bool = False) -> tf.Tensor:
        """Mean cross-entropy of each row's item among the items of the batch."""
        rows = inputs[ITEM_ROW][:, 0]
        loss = self._task(
            self.embed_queries(inputs, training),
            self.embed_items(rows, training),
            candidate_sampling_probability=tf.gather(self._probabilities, rows) if self._logq else None,
            candidate_ids=rows,
            compute_metrics=False,
            compute_batch_metrics=False,
        )
        replicas = self.distribute_strategy.num_replicas_in_sync
        return loss / tf.cast(tf.shape(rows)[0] * replicas, loss.dtype)

    def embed_catalogue(self) -> Array:
        """Embeddings of all items and of the unknown one, float32 ``[N + 1, dimension]``."""
        embed = tf.function(self.embed_items, autograph=False, reduce_retracing=True)
        chunks = [np.arange(start, min(start + _ROWS, self._rows + 1)) for start in range(0, self._rows + 1, _ROWS)]
        out: Array = np.concatenate([embed(tf.constant(chunk, tf.int64)).numpy() for chunk in chunks])
        return out


def sampling_probabilities(frequencies: Array) -> Array:
    """Probability that an item is drawn as an in-batch negative: its share of the training positives.

    Items without a positive are never drawn as negatives; they get the share of half an interaction.

    Args:
        frequencies: int64 ``[N]``.

    Returns:
        float32 ``[N]``.
    """
    out: Array = (np.maximum(frequencies, 0.5) / max(frequencies.sum(), 1)).astype(np.float32)
    return out
