"""Analysis, transform and counting of the interactions on Beam."""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import schema_utils
from tfx.dsl.io import fileio
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.tfxio.tf_example_record import TFExampleRecord

from crossrec.components.errors import DataError
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.features import preprocessing
from crossrec.components.features.examples import parsed_batches, record_batch, write_whole
from crossrec.components.features.schema import ITEM_ROW, POSITION, REQUEST, TIMESTAMP, USER, label_key

ITEM_VOCABULARY = "item_ids.txt"
_BATCH = 1_000
"""Rows of a batch. Beam would choose it by its clock, and sums of floats would differ from run to run."""


@dataclass(frozen=True)
class TransformPaths:
    """Where the transform writes.

    Attributes:
        graphs: Directory of the transform graphs, ``query/`` and ``item/``, item vocabulary and item counts.
        examples: Output directory of each split's transformed interactions.
        temporary: Directory for what is not kept.
    """

    graphs: str
    examples: Mapping[str, str]
    temporary: str

    @property
    def vocabulary(self) -> str:
        """The file of item ids."""
        return f"{self.graphs}/{ITEM_VOCABULARY}"

    @property
    def counts(self) -> str:
        """The file of item counts, a JSON pair in each line."""
        return f"{self.graphs}/item_counts.jsonl"


def _interaction_spec(config: FeatureTransformConfig) -> dict[str, tf.io.VarLenFeature]:
    spec = preprocessing.raw_feature_spec(config.features, "query")
    spec[config.interaction_item_column] = tf.io.VarLenFeature(tf.string)
    spec[config.user_column] = tf.io.VarLenFeature(tf.string)
    spec[config.timestamp_column] = tf.io.VarLenFeature(tf.int64)
    spec |= {label: tf.io.VarLenFeature(tf.float32) for label in (*config.labels, *config.grades)}
    if config.request_column:
        spec[config.request_column] = tf.io.VarLenFeature(tf.string)
    if config.position_column:
        spec[config.position_column] = tf.io.VarLenFeature(tf.int64)
    return spec


def interactions_preprocessing_fn(config: FeatureTransformConfig, vocabulary: str) -> Any:
    """The query side's features, with the item's row, the labels and the time of each interaction."""
    query = preprocessing.preprocessing_fn(config.features, "query", vocabulary)

    def transform(inputs: Mapping[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
        outputs = query(inputs)
        item_rows = preprocessing.item_rows(inputs[config.interaction_item_column], vocabulary)
        outputs[ITEM_ROW] = preprocessing.rows(item_rows, 1, preprocessing.PADDING)
        users = preprocessing.rows(inputs[config.user_column], 1, "")
        outputs[USER] = tf.strings.to_hash_bucket_fast(users, 2**62)
        outputs[TIMESTAMP] = preprocessing.rows(inputs[config.timestamp_column], 1, 0)
        for label in (*config.labels, *config.grades):
            outputs[label_key(label)] = preprocessing.rows(inputs[label], 1, 0.0)
        if config.request_column:
            requests = preprocessing.rows(inputs[config.request_column], 1, "")
            outputs[REQUEST] = tf.strings.to_hash_bucket_fast(requests, 2**62)
        if config.position_column:
            outputs[POSITION] = preprocessing.rows(inputs[config.position_column], 1, 0)
        return outputs

    return transform


def add_analysis(
    pipeline: beam.Pipeline, config: FeatureTransformConfig, training: str, items: str, out: TransformPaths
) -> None:
    """Adds analysis and counting to a Beam pipeline that the caller runs inside ``tft_beam.Context``.

    Args:
        pipeline: The pipeline.
        config: What to compute.
        training: File pattern of the training split's interactions.
        items: File pattern of the items.
        out: Where graphs and counts go.
    """
    spec = _interaction_spec(config)
    fn = interactions_preprocessing_fn(config, out.vocabulary)
    # Every step reads for itself: a runner keeps what two stages share, and the direct runner keeps it in memory.
    query_graph = _dataset(pipeline, "query", training, spec) | "Analyse[query]" >> tft_beam.AnalyzeDataset(fn)
    query_graph | "WriteGraph[query]" >> tft_beam.WriteTransformFn(f"{out.graphs}/query")
    item_spec = preprocessing.raw_feature_spec(config.features, "item")
    item_graph = _dataset(pipeline, "item", items, item_spec) | "Analyse[item]" >> (
        tft_beam.AnalyzeDataset(preprocessing.preprocessing_fn(config.features, "item"))
    )
    item_graph | "WriteGraph[item]" >> tft_beam.WriteTransformFn(f"{out.graphs}/item")
    counted = {name: spec[name] for name in (config.interaction_item_column, config.positive_label)}
    (
        pipeline
        | "CountedFiles" >> beam.Create(sorted(fileio.glob(training)))
        | "SpreadCounted" >> beam.Reshuffle()
        | "CountFile" >> beam.FlatMap(_count_items, config.interaction_item_column, config.positive_label, counted)
        | "CountItems" >> beam.CombinePerKey(sum)
        | "CountsAsJson" >> beam.Map(json.dumps)
        | "WriteCounts" >> beam.io.WriteToText(out.counts, shard_name_template="")
    )


def add_examples(
    pipeline: beam.Pipeline, config: FeatureTransformConfig, splits: Mapping[str, str], out: TransformPaths
) -> None:
    """Adds the transform of the rows, with the graphs that are there, to a Beam pipeline.

    A file becomes a file of the same number with its rows in the same order, whatever runs the pipeline.

    Args:
        pipeline: The pipeline.
        config: What to compute.
        splits: File pattern of each split's interactions.
        out: Where graphs lie, and examples go.
    """
    jobs = []
    for split, pattern in splits.items():
        files = sorted(fileio.glob(pattern))
        for number, path in enumerate(files):
            name = f"transformed_examples-{number:05d}-of-{len(files):05d}.gz"
            jobs.append((path, posixpath.join(out.examples[split], name)))
    (
        pipeline
        | "Files" >> beam.Create(jobs)
        | "Spread" >> beam.Reshuffle()
        | "Transform" >> beam.ParDo(_Transform(f"{out.graphs}/query", _interaction_spec(config), out.temporary))
    )


def read_counts(out: TransformPaths) -> dict[str, int]:
    """Positive interactions in training by item id, as the finished pipeline wrote them.

    Raises:
        DataError: The training split has no positive interaction.
    """
    with fileio.open(out.counts, "r") as file:
        counts = {item: int(count) for item, count in map(json.loads, file.read().splitlines())}
    if not counts:
        raise DataError(
            "data.split", "the training split has no positive interaction", "Let the validation split begin later."
        )
    return counts


def _dataset(pipeline: beam.Pipeline, name: str, pattern: str, spec: Mapping[str, Any]) -> tuple[Any, Any]:
    """Files as tf.Transform takes them: record batches, and what their columns are as tensors."""
    schema = schema_utils.schema_from_feature_spec(dict(spec))
    reader = TFExampleRecord(pattern, schema=schema, telemetry_descriptors=["crossrec"])
    return pipeline | f"Read[{name}]" >> reader.BeamSource(_BATCH), reader.TensorAdapterConfig()


def _count_items(path: str, item: str, label: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Items and their positives in one file; every row has one item and one value of the label."""
    counts: Counter[bytes] = Counter()
    for batch in parsed_batches(path, spec, _BATCH):
        counts.update(batch[item].values.numpy()[batch[label].values.numpy() > 0])
    for value, count in counts.items():
        yield value.decode("utf-8"), count


class _Transform(beam.DoFn):
    """Files of interactions to files of transformed ones."""

    def __init__(self, graph: str, spec: Mapping[str, Any], temporary: str) -> None:
        self._graph, self._spec, self._temporary = graph, dict(spec), temporary

    def setup(self) -> None:
        """Loads the graph and makes the encoder, which cannot be pickled."""
        layer = tft.TFTransformOutput(self._graph).transform_features_layer()
        inputs = {name: tf.SparseTensorSpec([None, None], feature.dtype) for name, feature in self._spec.items()}
        self._transform = tf.function(lambda raw: layer(raw), input_signature=[inputs], autograph=False)
        self._encoder = RecordBatchToExamplesEncoder()

    def process(self, job: tuple[str, str]) -> None:
        """Transforms one file.

        Args:
            job: The file, and where its rows go.
        """
        write_whole(job[1], self._records(job[0]), self._temporary)

    def _records(self, path: str) -> Iterator[bytes]:
        for batch in parsed_batches(path, self._spec, _BATCH):
            columns = {name: values.numpy() for name, values in self._transform(batch).items()}
            yield from self._encoder.encode(record_batch(columns))
