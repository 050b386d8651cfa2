"""The two-tower model as a TFRS model."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.errors import DataError
from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP, FeatureSchema
from crossrec.components.modeling.crosses import row_of
from crossrec.components.modeling.inputs import ItemFeatures, Tensors
from crossrec.components.modeling.towers import Tower, required_features
from crossrec.components.modeling.training import TrainableModel
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.loss import (
    BatchNegatives,
    batch_loss,
    catalogue_loss,
    gather_replicas,
    without,
)
from crossrec.components.retrieval_trainer.popularity import Popularity
from crossrec.components.retrieval_trainer.requests import TARGETS

_ROWS = 8192
_MOST_NEGATIVES = 100_000


class RetrievalModel(TrainableModel):
    """Query tower and candidate tower, trained by softmax over the items of the batch or of the catalogue."""

    def __init__(self, schema: FeatureSchema, config: RetrievalConfig, table: ItemTable, **kwargs: Any):
        """Constructs the model.

        Args:
            schema: Describes the features.
            config: Towers and loss.
            table: The catalogue: item features, and frequencies for the logQ correction.
            **kwargs: For Keras.

        Raises:
            DataError: The catalogue is too large to be every row's negatives.
        """
        super().__init__(**kwargs)
        self.query_tower = Tower(schema, config.query, config.sizes, name="query_tower")
        self.candidate_tower = Tower(schema, config.item, config.sizes, name="candidate_tower")
        self.popularity = Popularity(table.items + 1, name="popularity") if config.popularity else None
        self._query_features = required_features(schema, config.query.features)
        self._items = ItemFeatures(table, required_features(schema, config.item.features))
        self.items = table.items
        probabilities = sampling_probabilities(table.frequencies)
        self._probabilities = tf.Variable(probabilities, trainable=False, name="sampling_probabilities")
        self._loss_config = config.loss
        self._history = config.requests.history if config.requests and config.requests.new_items_only else None
        if config.loss.negatives == "catalogue" and table.items > _MOST_NEGATIVES:
            raise DataError(
                "retrieval.loss.negatives",
                f"catalogue, of {table.items:,} items, which would all be embedded in every step",
                f"Use in_batch above {_MOST_NEGATIVES:,} items.",
            )

    def embed_queries(self, features: Tensors, training: bool = False) -> tf.Tensor:
        """Query features ``{name: [B, width]}`` to float32 ``[B, D]``.

        Where popularity has its part in the scores, D is one more than ``dimension``, and the last number is 1.
        """
        out = self.query_tower(self._known(features), training=training, row=row_of(features, training))
        return out if self.popularity is None else tf.pad(out, [[0, 0], [0, 1]], constant_values=1.0)

    def embed_items(self, rows: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Item rows ``[B]`` (negative: an unknown item) to float32 ``[B, D]``, as of the end of the training."""
        out = self.candidate_tower(self._items(rows), training=training)
        if self.popularity is None:
            return out
        known = tf.where(rows < 0, tf.constant(self.items, rows.dtype), rows)
        # Scores are divided by the temperature; what popularity adds is not.
        popularity = self._loss_config.temperature * tf.gather(self.popularity.now(), known)
        return tf.concat([out, popularity[:, None]], 1)

    def _known(self, features: Tensors) -> dict[str, tf.Tensor]:
        """The features of the query tower."""
        return {name: features[name] for name in self._query_features}

    def compute_loss(self, inputs: Tensors, training: bool = False) -> tf.Tensor:
        """Mean cross-entropy of each positive among the items of the batch or of the catalogue.

        Args:
            inputs: Query features ``{name: [B, width]}``, and item rows ``ITEM_ROW`` ``[B, 1]`` or ``TARGETS``
                ``[B, T]`` padded with -1; with popularity also ``TIMESTAMP`` ``[B, 1]``.
            training: Whether dropout applies.
        """
        targets = inputs[TARGETS] if TARGETS in inputs else inputs[ITEM_ROW]
        queries = self.query_tower(self._known(inputs), training=training, row=row_of(inputs, training))
        moments = inputs[TIMESTAMP][:, 0] if self.popularity is not None else None
        if self._loss_config.negatives == "catalogue":
            items = self.candidate_tower(self._items(tf.range(self.items)), training=training)
            scores = tf.matmul(queries, items, transpose_b=True) / self._loss_config.temperature
            if self.popularity is not None:
                scores += self.popularity.of_all(moments)[:, : self.items]
            if self._history:
                scores = without(scores, inputs[self._history])
            return catalogue_loss(scores, targets)
        counted = targets >= 0
        owners, rows = tf.where(counted)[:, 0], tf.boolean_mask(targets, counted)
        batch = BatchNegatives.of(rows)
        items = gather_replicas(self.candidate_tower(self._items(rows), training=training))
        scores = tf.matmul(queries, items, transpose_b=True) / self._loss_config.temperature
        if self.popularity is not None:
            scores += self.popularity.of_rows(moments, batch.rows)
        probabilities = tf.gather(self._probabilities, batch.rows) if self._loss_config.logq_correction else None
        return batch_loss(tf.gather(scores, owners), batch, probabilities, self._loss_config.remove_accidental_hits)

    def embed_catalogue(self) -> Array:
        """Embeddings of all items and of the unknown one, float32 ``[N + 1, D]``."""
        embed = tf.function(self.embed_items, autograph=False, reduce_retracing=True)
        chunks = [np.arange(start, min(start + _ROWS, self.items + 1)) for start in range(0, self.items + 1, _ROWS)]
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
