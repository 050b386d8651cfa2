"""The two-tower model as a TFRS model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.errors import DataError
from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP, FeatureSchema
from crossrec.components.modeling.cold_start import without_unseen
from crossrec.components.modeling.crosses import row_of
from crossrec.components.modeling.inputs import ItemFeatures, Tensors
from crossrec.components.modeling.replicas import gather_replicas
from crossrec.components.modeling.towers import Tower, history_key, required_features
from crossrec.components.modeling.training import TrainableModel
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.graph import Graph, Propagated, check_graph
from crossrec.components.retrieval_trainer.graph_filter import GraphFilter, check_graph_filter
from crossrec.components.retrieval_trainer.loss import (
    Comparison,
    catalogue_loss,
    contrastive_catalogue_loss,
    contrastive_loss,
    softmax_loss,
    without,
)
from crossrec.components.retrieval_trainer.negatives import (
    BatchNegatives,
    Candidates,
    Negatives,
    is_easy,
    is_target,
    sampling_probabilities,
)
from crossrec.components.retrieval_trainer.popularity import Popularity
from crossrec.components.retrieval_trainer.requests import TARGETS

_ROWS = 8192
_MOST_NEGATIVES = 100_000


class RetrievalModel(TrainableModel):
    """Query tower and candidate tower, and what a graph or popularity adds to them."""

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
        self._encoders = config.query.encoders
        of_encoders = [name for encoder in self._encoders for name in encoder.query_features]
        self._query_features = required_features(schema, [*config.query.features, *of_encoders])
        self._item_features = required_features(schema, config.item.features)
        of_items = [*self._item_features, *(name for encoder in self._encoders for name in encoder.item_features)]
        self._items = ItemFeatures(without_unseen(table, config.item.cold_start), list(dict.fromkeys(of_items)))
        self.items = table.items
        probabilities = sampling_probabilities(table.frequencies)
        in_batch = config.loss.negatives == "in_batch"
        self._negatives = Negatives(config.loss.drawn, in_batch, probabilities, config.dimension)
        self._dimension, self._normalise = config.dimension, config.normalise
        self.graph = None
        if config.graph is not None:
            check_graph(config.graph, schema)
            users = schema.feature(config.graph.user).cardinality if config.graph.user else 0
            self.graph = Graph(config.graph, users, table.items, config.dimension)
            self._widths = {feature.name: feature for feature in schema.side("query")}
        self.graph_filter = None
        if config.graph_filter is not None:
            check_graph_filter(config.graph_filter, schema)
            self.graph_filter = GraphFilter(config.graph_filter, table.items)
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

        Where a graph filter has its part in the scores, D is so much more than ``dimension``; where popularity has,
        one more, and the last number is 1.
        """
        found = self.graph.folded() if self.graph is not None else None
        out = self._embed_queries(features, found, training)
        if self.graph_filter is not None:
            out = tf.concat([out, self._filtered(features)], 1)
        return out if self.popularity is None else tf.pad(out, [[0, 0], [0, 1]], constant_values=1.0)

    def embed_items(self, rows: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Item rows ``[B]`` (negative: an unknown item) to float32 ``[B, D]``, as of the end of the training."""
        out = self._embed_items(rows, self.graph.folded() if self.graph is not None else None, training)
        # Scores are divided by the temperature; what a graph filter and popularity add is not.
        if self.graph_filter is not None:
            out = tf.concat([out, self._loss_config.temperature * self.graph_filter.of_items(rows)], 1)
        if self.popularity is None:
            return out
        popularity = self._loss_config.temperature * tf.gather(self.popularity.now(), self._known_rows(rows))
        return tf.concat([out, popularity[:, None]], 1)

    def _embed_queries(self, features: Tensors, found: Propagated | None, training: bool) -> tf.Tensor:
        out = self.query_tower(self._known(features), training=training, row=row_of(features, training))
        if self.graph is None or found is None:
            return out
        config = self.graph.config
        users = features[config.user] if config.user else None
        history = features[config.history] if config.history else None
        return self._finish(self.graph.share * out + self.graph.of_queries(found, users, history))

    def _embed_items(self, rows: tf.Tensor, found: Propagated | None, training: bool) -> tf.Tensor:
        out = self._candidates(rows, training)
        if self.graph is None or found is None:
            return out
        return self._finish(self.graph.share * out + tf.gather(found.items, self._known_rows(rows)))

    def _filtered(self, features: Tensors) -> tf.Tensor:
        """What the graph filter makes of recent items, float32 ``[B, D]``."""
        assert self.graph_filter is not None
        return self.graph_filter.of_queries(features[self.graph_filter.config.history])

    def _finish(self, embeddings: tf.Tensor) -> tf.Tensor:
        return tf.math.l2_normalize(embeddings, -1) if self._normalise else embeddings

    def _known_rows(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.where(rows < 0, tf.constant(self.items, rows.dtype), rows)

    def _known(self, features: Tensors) -> dict[str, tf.Tensor]:
        """The features of the query tower, and those of recent items that its encoders see."""
        known = {name: features[name] for name in self._query_features}
        for encoder in self._encoders:
            if encoder.item_features:
                found = self._items(features[encoder.sequence], encoder.item_features)
                known |= {history_key(encoder.sequence, name): values for name, values in found.items()}
        return known

    def _candidates(self, rows: tf.Tensor, training: bool) -> tf.Tensor:
        """What the candidate tower makes of item rows."""
        return self.candidate_tower(self._items(rows, self._item_features), training=training)

    def _propagate(self, items: tf.Tensor, training: bool) -> Propagated:
        """Spreads what the towers make of each item, and of each user of whom nothing but the id is known."""
        assert self.graph is not None
        name = self.graph.config.user
        if name is None:
            return self.graph.propagate(None, items)
        users = self._widths[name].cardinality
        ids = {name: tf.range(users, dtype=tf.int64)[:, None]}
        nothing = {
            other: tf.zeros([users, feature.width])
            if feature.kind == "dense"
            else tf.fill([users, feature.width], tf.constant(-1, tf.int64))
            for other, feature in self._widths.items()
        }
        return self.graph.propagate(self.query_tower(self._known({**nothing, **ids}), training=training), items)

    def fold_graph(self) -> None:
        """Keeps what the graph spreads now for what ``embed_queries`` and ``embed_items`` give."""
        if self.graph is None:
            return
        graph = self.graph

        def spread() -> tuple[tf.Tensor | None, tf.Tensor, tf.Tensor]:
            found = self._propagate(self._candidates(tf.range(self.items), False), False)
            return found.users, found.items, found.neighbours

        graph.fold(Propagated(*tf.function(spread, autograph=False)()))

    def finish(self) -> None:
        """Forgets what only training needs."""
        if self.popularity is not None:
            self.popularity.forget_history()
        if self.graph is not None:
            self.fold_graph()
            self.graph.forget_edges()

    def compute_loss(self, inputs: Tensors, training: bool = False) -> tf.Tensor:
        """Mean loss of each positive beside the items of the catalogue, or beside candidates.

        Args:
            inputs: Query features ``{name: [B, width]}``, and item rows ``ITEM_ROW`` ``[B, 1]`` or ``TARGETS``
                ``[B, T]`` padded with -1; with popularity also ``TIMESTAMP`` ``[B, 1]``.
            training: Whether dropout applies.
        """
        targets = inputs[TARGETS] if TARGETS in inputs else inputs[ITEM_ROW]
        moments = inputs[TIMESTAMP][:, 0] if self.popularity is not None else None
        found, embed = self._embedders(training)
        queries = self._embed_queries(inputs, found, training)
        if self._loss_config.negatives == "catalogue":
            return self._catalogue_loss(queries, embed(tf.range(self.items)), targets, moments, inputs)
        compared, batch = self._compare(queries, embed, targets, moments, inputs)
        if training:
            self._negatives.remember(batch)
        if self._loss_config.contrastive is not None:
            return contrastive_loss(compared, self._loss_config.contrastive)
        return softmax_loss(compared, self._loss_config.label_smoothing)

    def _embedders(self, training: bool) -> tuple[Propagated | None, Callable[[tf.Tensor], tf.Tensor]]:
        """What the graph spreads in this step, and what embeds item rows in it."""
        if self.graph is None:
            return None, lambda rows: self._candidates(rows, training)
        # Each layer takes all users and items, so the towers run over them once a step.
        items = self._candidates(tf.range(self.items), training)
        found = self._propagate(items, training)
        items = self._finish(self.graph.share * items + found.items[: self.items])
        return found, lambda rows: tf.gather(items, rows)

    def _catalogue_loss(
        self, queries: tf.Tensor, items: tf.Tensor, targets: tf.Tensor, moments: tf.Tensor | None, inputs: Tensors
    ) -> tf.Tensor:
        scores = tf.matmul(queries, items, transpose_b=True) * self._scale
        if self.graph_filter is not None:
            everything = self.graph_filter.of_items(tf.range(self.items))
            scores += tf.matmul(self._filtered(inputs), everything, transpose_b=True)
        if self.popularity is not None:
            scores += self.popularity.of_all(moments)[:, : self.items]
        if self._history:
            scores = without(scores, inputs[self._history])
        if self._loss_config.contrastive is not None:
            return contrastive_catalogue_loss(scores, targets, self._loss_config.contrastive)
        return catalogue_loss(scores, targets, self._loss_config.label_smoothing)

    @property
    def _scale(self) -> float:
        return 1.0 if self._loss_config.contrastive is not None else 1.0 / self._loss_config.temperature

    def _compare(
        self,
        queries: tf.Tensor,
        embed: Callable[[tf.Tensor], tf.Tensor],
        targets: tf.Tensor,
        moments: tf.Tensor | None,
        inputs: Tensors,
    ) -> tuple[Comparison, Candidates]:
        """Scores of the targets and of their candidates, and the positives of all devices."""
        counted = targets >= 0
        owners, rows = tf.where(counted)[:, 0], tf.boolean_mask(targets, counted)
        places = BatchNegatives.of(rows)
        own_items = embed(rows)
        batch = Candidates(places.rows, gather_replicas(own_items))
        in_batch = self._loss_config.negatives == "in_batch"
        candidates = self._negatives.draw(batch if in_batch else None, embed, self._dimension)
        scores = tf.matmul(queries, candidates.embeddings, transpose_b=True) * self._scale
        own = tf.reduce_sum(tf.gather(queries, owners) * own_items, 1) * self._scale
        if self.graph_filter is not None:
            filtered = self._filtered(inputs)
            scores += tf.matmul(filtered, self.graph_filter.of_items(candidates.rows), transpose_b=True)
            own += tf.reduce_sum(tf.gather(filtered, owners) * self.graph_filter.of_items(rows), 1)
        if self.popularity is not None:
            shares = self.popularity.of_rows(moments, tf.maximum(candidates.rows, 0))
            scores += shares
            own += self.popularity.of_pairs(tf.gather(moments, owners), rows)
        others = tf.gather(scores, owners)
        masked = tf.broadcast_to(candidates.rows[None] < 0, tf.shape(others))
        if in_batch:
            masked |= places.own[:, None] == tf.range(tf.shape(candidates.rows, tf.int64)[0])[None]
        if self._loss_config.remove_accidental_hits:
            masked |= rows[:, None] == candidates.rows[None]
        hard = self._loss_config.drawn.hard
        if hard is not None:
            pool = scores[:, -hard.pool :]
            hits = is_target(candidates.rows[-hard.pool :], targets, self.items)
            easy = hits | is_easy(tf.where(hits, pool.dtype.min, pool), hard.kept)
            others_than_pool = tf.zeros([tf.shape(scores)[0], tf.shape(scores)[1] - hard.pool], tf.bool)
            masked |= tf.gather(tf.concat([others_than_pool, easy], 1), owners)
        counts = own_counts = None
        if self._loss_config.logq_correction:
            size = tf.cast(tf.shape(places.rows)[0], tf.float32)
            counts = self._negatives.expected_counts(candidates.rows, size)
            # A positive is there for certain: where its chance copies are other candidates, it counts as it is.
            alone = in_batch and not self._loss_config.drawn.any
            own_counts = self._negatives.expected_counts(rows, size) if alone else None
        return Comparison(own, others, masked, counts, own_counts, self.items), batch

    def embed_catalogue(self, rows: Array | None = None) -> Array:
        """Embeddings of all items and of the unknown one, float32 ``[N + 1, D]``, or of some rows ``[n]`` of these."""
        if self.graph is not None and self.graph.has_edges:
            self.fold_graph()
        wanted = np.arange(self.items + 1) if rows is None else rows
        embed = tf.function(self.embed_items, autograph=False, reduce_retracing=True)
        # At least one chunk, so that no rows have a width too.
        chunks = [wanted[start : start + _ROWS] for start in range(0, max(len(wanted), 1), _ROWS)]
        out: Array = np.concatenate([embed(tf.constant(chunk, tf.int64)).numpy() for chunk in chunks])
        return out
