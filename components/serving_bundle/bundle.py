"""The serving graph: raw request values in, a ranked list out, in operations of the stock server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from crossrec.components.candidate_indexer.index import ExactIndex
from crossrec.components.candidate_indexer.partitioned import PartitionedIndex
from crossrec.components.feature_transform.transform import ITEM_VOCABULARY
from crossrec.components.features.config import RawKind
from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.preprocessing import RAW_DTYPES, dense_to_sparse
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.ranking_trainer.model import RankingModel
from crossrec.components.retrieval_trainer.model import RetrievalModel
from crossrec.components.serving_bundle.config import ServingConfig
from crossrec.components.serving_bundle.texts import QueryTexts
from crossrec.serving.contract import names

Tensors = Mapping[str, tf.Tensor]


@dataclass(frozen=True)
class BundleParts:
    """What a bundle is made of.

    Attributes:
        schema: Describes the features.
        graphs: Directory of the transform graphs and the item vocabulary.
        table: The catalogue.
        retrieval: The trained towers.
        index: Search over the catalogue.
        ranking: The trained ranking model.
        version_file: File with the line ``version<TAB>NUMBER``, replaced when the bundle is published.
        search_inputs: Further inputs of a search: ``k``, ``probes``.
        encoders: Encoders of the query's texts by key, as ``load_encoder`` gives them.
        centres: Centres of their clusters by encoded column, float32 ``[K, dimension]``.
    """

    schema: FeatureSchema
    graphs: str
    table: ItemTable
    retrieval: RetrievalModel
    index: ExactIndex | PartitionedIndex
    ranking: RankingModel
    version_file: str
    search_inputs: tuple[str, ...] = ()
    encoders: Mapping[str, Any] = field(default_factory=dict)
    centres: Mapping[str, Array] = field(default_factory=dict)


class Bundle(tf.Module):
    """Answers ``recommend``, ``retrieve`` and ``rank``; shapes as in ``crossrec.serving.contract.names``."""

    def __init__(self, parts: BundleParts, config: ServingConfig):
        """Puts the parts together."""
        super().__init__(name="bundle")
        self._kinds: dict[str, RawKind] = dict(parts.schema.raw_query)
        self._widths = dict(parts.schema.raw_widths)
        self._read = [name for name in self._kinds if name not in parts.schema.only_encoded]
        self._transform = tft.TFTransformOutput(f"{parts.graphs}/query").transform_features_layer()
        self.texts = QueryTexts(parts.schema, parts.encoders, parts.centres)
        self._features = [feature.name for feature in parts.schema.side("query")]
        self._retrieval, self._index, self._ranking = parts.retrieval, parts.index, parts.ranking
        self._candidates = min(max(config.candidates, config.list_size), parts.table.items)
        self._search_inputs = parts.search_inputs
        self._list_size = min(config.list_size, parts.table.items)
        # The last row is the padding of a short list.
        self._ids = _strings([*parts.table.ids, names.PADDING_ITEM], "item_ids")
        self._display = {name: _strings([*parts.table.display[name], ""], name) for name in config.display}
        gone = parts.table.removed
        self._removed = None if gone is None else tf.Variable(gone, trainable=False, name="removed_items")
        self._rows = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                f"{parts.graphs}/{ITEM_VOCABULARY}",
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=-1,
        )
        self._version = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(parts.version_file, tf.string, 0, tf.int64, 1), default_value=0
        )
        # What is traced once for all signatures makes a smaller graph, which takes less time to write and to load.
        self._encoding = tf.function(self._encode, autograph=False)
        self._searching = tf.function(self._search, autograph=False)

    def query_signature(self) -> dict[str, tf.TensorSpec]:
        """The query inputs: ``[B]``, ``[B, None]`` for multi-valued columns, ``[B, dimension]`` for vectors."""
        shapes = {"strings": [None, None]}
        return {
            name: tf.TensorSpec(
                [None, self._widths[name]] if kind == "floats" else shapes.get(kind, [None]), RAW_DTYPES[kind], name
            )
            for name, kind in self._kinds.items()
        }

    def search_signature(self) -> dict[str, tf.TensorSpec]:
        """The inputs of a search: excluded items, accepted values of filters, and numbers where the spec has them."""
        lists = [names.EXCLUDE_ITEMS, *(f"{names.FILTER_PREFIX}{name}" for name in self._index.filters.names)]
        return {
            **{name: tf.TensorSpec([None, None], tf.string, name) for name in lists},
            **{name: tf.TensorSpec([None], tf.int64, name) for name in self._search_inputs},
        }

    def recommend(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """The best items over the whole catalogue, ranked."""
        query, embedding = self._encoded(inputs)
        retrieval_scores, rows = self._found(embedding, inputs)
        scores = self._ranking.score(self._ranking.probabilities(query, rows, retrieval_scores))
        scores = tf.where(rows < 0, tf.constant(names.PADDING_SCORE, tf.float32), scores)
        best, places = tf.math.top_k(scores, k=self._list_size)
        best, rows = self._cut(best, tf.gather(rows, places, batch_dims=1), inputs)
        return {
            names.ITEM_IDS: self._gather(self._ids, rows),
            names.SCORES: best,
            names.MODEL_VERSION: self._model_version(rows),
            **{name: self._gather(texts, rows) for name, texts in self._display.items()},
        }

    def retrieve(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """The candidates of retrieval, by its own score."""
        _, embedding = self._encoded(inputs)
        scores, rows = self._cut(*self._found(embedding, inputs), inputs)
        return {
            names.ITEM_IDS: self._gather(self._ids, rows),
            names.SCORES: scores,
            names.MODEL_VERSION: self._model_version(rows),
        }

    def rank(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Scores of given items; one that is unknown or was removed is scored as one of which nothing is known."""
        query, embedding = self._encoded(inputs)
        rows = self._rows.lookup(inputs[names.CANDIDATE_ITEMS])
        if self._removed is not None:
            rows = tf.where(tf.gather(self._removed, tf.maximum(rows, 0)), tf.constant(-1, rows.dtype), rows)
        probabilities = self._ranking.probabilities(query, rows, self._index.score(embedding, rows))
        return {
            names.SCORES: self._ranking.score(probabilities),
            names.MODEL_VERSION: self._model_version(rows),
            **{
                f"{names.PROBABILITY_PREFIX}{task.name}": probabilities[..., column]
                for column, task in enumerate(self._ranking.tasks)
            },
        }

    def signatures(self) -> dict[str, Any]:
        """The concrete functions to export, by signature name."""
        lists = tf.TensorSpec([None, None], tf.string)
        query = self.query_signature()
        search = self.search_signature()
        recommend = tf.function(self.recommend, autograph=False).get_concrete_function({**query, **search})
        retrieve = tf.function(self.retrieve, autograph=False).get_concrete_function({**query, **search})
        rank = tf.function(self.rank, autograph=False).get_concrete_function(
            {**query, names.CANDIDATE_ITEMS: _named(lists, names.CANDIDATE_ITEMS)}
        )
        return {
            names.DEFAULT_SIGNATURE: recommend,
            names.RECOMMEND: recommend,
            names.RETRIEVE: retrieve,
            names.RANK: rank,
        }

    def _encoded(self, inputs: Tensors) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """As ``_encode``, by a function that the signatures share."""
        out: tuple[dict[str, tf.Tensor], tf.Tensor] = self._encoding({name: inputs[name] for name in self._kinds})
        return out

    def _found(self, embedding: tf.Tensor, inputs: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """As ``_search``, by a function that the signatures share."""
        wanted = {name: inputs[name] for name in self.search_signature()}
        out: tuple[tf.Tensor, tf.Tensor] = self._searching(embedding, wanted)
        return out

    def _encode(self, inputs: Tensors) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Transformed query features ``{name: [B, width]}`` and the query's embedding ``[B, D]``."""
        raw = {name: dense_to_sparse(inputs[name], self._kinds[name]) for name in self._read}
        transformed = self._transform({**raw, **self.texts.columns(inputs)})
        query = {name: transformed[name] for name in self._features}
        return query, self._retrieval.embed_queries(query)

    def _search(self, embedding: tf.Tensor, inputs: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        exclude = self._rows.lookup(inputs[names.EXCLUDE_ITEMS])
        wanted = self._index.filters.wanted(inputs)
        return self._index.search(embedding, exclude, self._candidates, inputs.get(names.PROBES), wanted)

    def _cut(self, scores: tf.Tensor, rows: tf.Tensor, inputs: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Lists ``[B, N]`` padded from the place on that a request asks for."""
        if names.K not in inputs:
            return scores, rows
        k = inputs[names.K][:, None]
        beyond = (k > 0) & (tf.range(tf.shape(rows, tf.int64)[1], dtype=tf.int64)[None, :] >= k)
        return tf.where(beyond, tf.constant(names.PADDING_SCORE, tf.float32), scores), tf.where(
            beyond, tf.constant(-1, rows.dtype), rows
        )

    def _gather(self, texts: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
        return tf.gather(texts, tf.where(rows < 0, tf.constant(self._index.items, rows.dtype), rows))

    def _model_version(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.fill([tf.shape(rows)[0]], self._version.lookup(tf.constant("version")))


def _strings(texts: list[str], name: str) -> tf.Variable:
    return tf.Variable(tf.constant(texts, tf.string), trainable=False, name=name)


def _named(spec: tf.TensorSpec, name: str) -> tf.TensorSpec:
    return tf.TensorSpec(spec.shape, spec.dtype, name)
