"""Ranking examples on Beam: users in partitions, so that a user's own items are never their negatives."""

from __future__ import annotations

import posixpath
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx.dsl.io import fileio
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from crossrec.components.candidate_indexer.index import ExactIndex, read_embeddings
from crossrec.components.features.examples import parsed_batches, record_batch, write_whole
from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP, USER, FeatureSchema, label_key
from crossrec.components.features.spill import Place
from crossrec.components.modeling import inputs
from crossrec.components.ranking_examples.config import RankingExamplesConfig
from crossrec.components.ranking_examples.lists import list_batches
from crossrec.components.ranking_examples.partitions import by_user, read_partition
from crossrec.components.ranking_examples.sampling import Drawable, ranking_rows
from crossrec.components.retrieval_trainer import train

SPLITS = ("train", "validation", "test")
_BATCH, _LOGGED_BATCH = 2048, 16_384
_DAY = 86_400


class Retrieval:
    """The trained retrieval model over its index, as Beam workers use it."""

    def __init__(self, directories: Mapping[str, str], from_top: int):
        """Loads ``cross_set``, ``item_table``, ``retrieval_model`` and ``candidate_index``."""
        schema = FeatureSchema.read(directories["cross_set"])
        table = ItemTable.read(directories["item_table"])
        model = train.load(directories["retrieval_model"], schema, table, served=False)
        index = ExactIndex(read_embeddings(directories["candidate_index"]))
        self._names = [feature.name for feature in schema.side("query")]

        def step(
            features: inputs.Tensors, places: tf.Tensor, rows: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            queries = model.embed_queries(features)
            scores, nearest = index.search(queries, tf.zeros([tf.shape(queries)[0], 0], tf.int64), from_top)
            return index.score(tf.gather(queries, places), rows), scores, nearest

        self._step = tf.function(step, autograph=False, reduce_retracing=True)

    def search(self, batch: dict[str, Array], rows: Array) -> tuple[Array, Array, Array]:
        """Scores of the given rows, and scores and rows of the nearest items.

        Rows of one request are equal on the query's side: it is searched for once.
        """
        first, places = _distinct([batch[name] for name in self._names])
        features = {name: tf.constant(batch[name][first]) for name in self._names}
        own, scores, nearest = self._step(features, tf.constant(places), tf.constant(rows))
        return own.numpy(), scores.numpy()[places], nearest.numpy()[places]


def _distinct(columns: Sequence[Array]) -> tuple[Array, Array]:
    """Where each distinct row stands first, and which of these every row is."""
    data = np.concatenate([np.ascontiguousarray(column).view(np.uint8) for column in columns], 1)
    _, first, places = np.unique(data.view(f"V{data.shape[1]}")[:, 0], return_index=True, return_inverse=True)
    return first, places


@dataclass(frozen=True)
class Shards:
    """Where examples are written: one file for each split and partition of users.

    Attributes:
        outputs: Output directory of each split.
        partitions: Into how many partitions the users are divided.
        temporary: Directory for files that are not yet whole, reachable by all workers; the caller removes it.
    """

    outputs: Mapping[str, str]
    partitions: int
    temporary: str

    def write(self, split: str, partition: int, records: Iterable[bytes]) -> None:
        """Writes a file whole: it appears under its name, the same in every run, when all of it is there."""
        name = f"ranking_examples-{partition:05d}-of-{self.partitions:05d}.gz"
        write_whole(posixpath.join(self.outputs[split], name), records, self.temporary)


def add_examples(pipeline: beam.Pipeline, patterns: Mapping[str, str], make: MakeExamples) -> None:
    """Adds the steps to a Beam pipeline.

    Args:
        pipeline: The pipeline.
        patterns: Transformed interactions of each split.
        make: Turns the rows of one partition of users into examples.
    """
    logged = (
        pipeline
        | "TrainFiles" >> beam.Create(sorted(fileio.glob(patterns["train"])))
        | "SpreadTrain" >> beam.Reshuffle()
        | "LoggedOfFile" >> beam.Map(Logged.read)
        | "Logged" >> beam.CombineGlobally(Logged.joined)
    )
    divided = by_user(pipeline, patterns, make.shards.partitions, make.shards.temporary)
    divided | "Make" >> beam.ParDo(make, beam.pvalue.AsSingleton(logged))


@dataclass(frozen=True)
class Logged:
    """What the logged rows of training say as a whole.

    Attributes:
        latest: Time of the last one, Unix seconds.
        items: Rows of the items that they show, int64 ``[n]``, sorted.
    """

    latest: int
    items: Array

    @classmethod
    def read(cls, path: str) -> Logged:
        """Of a file of transformed interactions."""
        spec = {name: tf.io.FixedLenFeature([1], tf.int64) for name in (TIMESTAMP, ITEM_ROW)}
        return cls.joined(
            cls(int(rows[TIMESTAMP].numpy().max()), np.unique(rows[ITEM_ROW].numpy()))
            for rows in parsed_batches(path, spec, _LOGGED_BATCH)
        )

    @classmethod
    def joined(cls, parts: Iterable[Logged]) -> Logged:
        """Of all parts together."""
        found = list(parts)
        items = [part.items for part in found]
        return cls(
            max((part.latest for part in found), default=0),
            np.unique(np.concatenate(items)) if items else np.zeros(0, np.int64),
        )


class MakeExamples(beam.DoFn):
    """The rows of one partition of users to a file of ranking examples for each split."""

    def __init__(
        self, directories: Mapping[str, str], spec: Mapping[str, Any], config: RankingExamplesConfig, shards: Shards
    ):
        """Keeps what ``setup`` needs; all of it can be pickled."""
        self._directories, self._spec, self._config = dict(directories), dict(spec), config.model_dump_json()
        self.shards = shards

    def setup(self) -> None:
        """Loads the retrieval model."""
        self._parameters = RankingExamplesConfig.model_validate_json(self._config)
        self._retrieval = Retrieval(self._directories, self._parameters.negatives.from_top)
        self._encoder = RecordBatchToExamplesEncoder()

    def process(self, element: tuple[int, Iterable[tuple[str, Place]]], logged: Logged) -> None:
        """Writes the examples of a partition, in the same order in every run.

        Args:
            element: A partition's number, and where its rows lie, by split.
            logged: Of all rows of training.
        """
        partition, places = element
        records = read_partition(places, SPLITS)
        users: list[Array] = []
        items: list[Array] = []
        for split in SPLITS:
            rows = records.pop(split)
            batches = in_order([self._parse(rows[i : i + _BATCH]) for i in range(0, len(rows), _BATCH)])
            # A row may know the user's items of its own and of earlier times, never of later ones.
            for batch in batches:
                positive = batch[label_key(self._parameters.label)][:, 0] > 0
                users.append(batch[USER][positive, 0])
                items.append(batch[ITEM_ROW][positive, 0])
            if not batches:
                continue
            drawable = Drawable.of(np.concatenate(users), np.concatenate(items), logged.items)
            rng = np.random.default_rng([self._parameters.seed, partition, zlib.crc32(split.encode())])
            if split == "train" and self._parameters.last_days is not None:
                batches = since(batches, logged.latest - self._parameters.last_days * _DAY)
            self.shards.write(split, partition, self._encoded(batches, drawable, rng))

    def _encoded(
        self, batches: Iterable[dict[str, Array]], drawable: Drawable, rng: np.random.Generator
    ) -> Iterator[bytes]:
        made = (ranking_rows(batch, self._retrieval.search, drawable, self._parameters, rng) for batch in batches)
        for rows in _record_batches(made, self._parameters.lists):
            yield from self._encoder.encode(rows)

    def _parse(self, records: list[bytes]) -> dict[str, Array]:
        return {name: values.numpy() for name, values in tf.io.parse_example(records, self._spec).items()}


def in_order(batches: Sequence[dict[str, Array]]) -> list[dict[str, Array]]:
    """The rows of batches in the order of their values, so that the choice of negatives can be repeated.

    The order in which records come is the runner's, and that of their bytes is no better: a tf.Example holds its
    features in any order.
    """
    if not batches:
        return []
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    order = np.lexsort([column for name in sorted(columns) for column in columns[name].T])
    return [
        {name: values[order[start : start + _BATCH]] for name, values in columns.items()}
        for start in range(0, len(order), _BATCH)
    ]


def since(batches: Sequence[dict[str, Array]], moment: float) -> list[dict[str, Array]]:
    """The rows of batches that are later than a moment; batches without one are left out."""
    kept = [(batch, batch[TIMESTAMP][:, 0] > moment) for batch in batches]
    return [{name: values[rows] for name, values in batch.items()} for batch, rows in kept if rows.any()]


def _record_batches(made: Iterable[dict[str, Array]], lists: bool) -> Iterator[pa.RecordBatch]:
    """What becomes records: rows, or lists, of which a partition has all rows."""
    if not lists:
        yield from map(record_batch, made)
        return
    batches = list(made)
    if batches:
        yield from list_batches({name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]})
