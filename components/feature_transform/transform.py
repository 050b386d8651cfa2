"""Analysis, transform and counting of the interactions on Beam."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import schema_utils
from tfx.dsl.io import fileio
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.tfxio.tf_example_record import TFExampleRecord

from crossrec.components.errors import DataError
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.features import preprocessing
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


def add_transform(
    pipeline: beam.Pipeline, config: FeatureTransformConfig, splits: Mapping[str, str], items: str, out: TransformPaths
) -> None:
    """Adds the steps to a Beam pipeline that the caller runs inside ``tft_beam.Context``.

    Args:
        pipeline: The pipeline.
        config: What to compute.
        splits: File pattern of each split's interactions; ``train`` is analysed and counted.
        items: File pattern of the items.
        out: Where graphs, examples and counts go.
    """
    spec = _interaction_spec(config)
    fn = interactions_preprocessing_fn(config, out.vocabulary)
    # Every step reads for itself: a runner keeps what two stages share, and the direct runner keeps it in memory.
    analysed = _reader(splits["train"], spec)
    query_graph = (
        pipeline | "Read[query]" >> analysed.BeamSource(_BATCH),
        analysed.TensorAdapterConfig(),
    ) | "Analyse[query]" >> tft_beam.AnalyzeDataset(fn)
    query_graph | "WriteGraph[query]" >> tft_beam.WriteTransformFn(f"{out.graphs}/query")
    item_reader = _reader(items, preprocessing.raw_feature_spec(config.features, "item"))
    item_graph = (
        pipeline | "Read[items]" >> item_reader.BeamSource(_BATCH),
        item_reader.TensorAdapterConfig(),
    ) | "Analyse[item]" >> tft_beam.AnalyzeDataset(preprocessing.preprocessing_fn(config.features, "item"))
    item_graph | "WriteGraph[item]" >> tft_beam.WriteTransformFn(f"{out.graphs}/item")
    counted = {name: spec[name] for name in (config.interaction_item_column, config.positive_label)}
    (
        pipeline
        | "Read[counts]" >> _reader(splits["train"], counted).BeamSource(_BATCH)
        | "CountBatch" >> beam.FlatMap(_count_items, config.interaction_item_column, config.positive_label)
        | "CountItems" >> beam.CombinePerKey(sum)
        | "CountsAsJson" >> beam.Map(json.dumps)
        | "WriteCounts" >> beam.io.WriteToText(out.counts, shard_name_template="")
    )
    for split, pattern in splits.items():
        reader = _reader(pattern, spec)
        read = pipeline | f"Read[{split}]" >> reader.BeamSource(_BATCH)
        transformed, _ = ((read, reader.TensorAdapterConfig()), query_graph) | (
            f"Transform[{split}]" >> tft_beam.TransformDataset(output_record_batches=True)
        )
        (
            transformed
            | f"Encode[{split}]" >> beam.ParDo(_Encode())
            | f"Write[{split}]"
            >> beam.io.WriteToTFRecord(f"{out.examples[split]}/transformed_examples", file_name_suffix=".gz")
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


def _reader(pattern: str, spec: Mapping[str, Any]) -> TFExampleRecord:
    schema = schema_utils.schema_from_feature_spec(dict(spec))
    return TFExampleRecord(pattern, schema=schema, telemetry_descriptors=["crossrec"])


def _count_items(batch: pa.RecordBatch, item: str, label: str) -> Iterator[tuple[str, int]]:
    """Items and their positives in one batch; every row has one item and one value of the label."""
    items = batch.column(batch.schema.get_field_index(item)).flatten()
    labels = batch.column(batch.schema.get_field_index(label)).flatten().to_numpy()
    counts = pc.value_counts(items.filter(pa.array(labels > 0)))
    for value in counts:
        yield value["values"].as_py().decode("utf-8"), value["counts"].as_py()


class _Encode(beam.DoFn):
    """Record batches to serialized tf.Examples."""

    def setup(self) -> None:
        """Makes the encoder, which cannot be pickled."""
        self._encoder = RecordBatchToExamplesEncoder()

    def process(self, element: tuple[pa.RecordBatch, Any]) -> Iterator[bytes]:
        """Yields one serialized tf.Example per row."""
        yield from self._encoder.encode(element[0])
