"""The catalogue's side of the transform: item vocabulary, item table, and what the crosses cover."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx.dsl.io import fileio

from crossrec.components.errors import DataError
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.features import preprocessing
from crossrec.components.features.config import Categorical
from crossrec.components.features.crosses import cross_ids_numpy
from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import ITEM_ROW, CrossOutput, FeatureSchema

_BATCH = 4096
_CROSS_ROWS = 1_000_000


def parsed_batches(pattern: str, spec: Mapping[str, Any], batch: int = _BATCH) -> tf.data.Dataset:
    """Batches of parsed tf.Examples from gzipped TFRecord files, in the order of the file names."""
    files = sorted(fileio.glob(pattern))
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(batch)
    return dataset.map(lambda examples: tf.io.parse_example(examples, dict(spec))).prefetch(1)


def read_item_columns(pattern: str, columns: Iterable[str]) -> dict[str, Array]:
    """Raw string columns of the items, one value per item: "" where missing, ", " between several."""
    names = list(dict.fromkeys(columns))
    parts: dict[str, list[str]] = {name: [] for name in names}
    for batch in parsed_batches(pattern, {name: tf.io.VarLenFeature(tf.string) for name in names}):
        for name in names:
            ragged = tf.RaggedTensor.from_sparse(batch[name])
            joined = tf.strings.reduce_join(ragged, axis=1, separator=", ").numpy()
            parts[name] += [value.decode("utf-8") for value in joined]
    out = {}
    for name in names:
        out[name] = np.empty(len(parts[name]), object)
        out[name][:] = parts[name]
    return out


def write_item_vocabulary(ids: Array, path: str) -> None:
    """Writes one item id per line, in the order of the item table.

    Raises:
        DataError: An id is missing or holds a line break.
    """
    for row, item in enumerate(ids):
        if not item or "\n" in item or "\r" in item:
            raise DataError(
                "data.items.item", f"the id {item!r} of item {row} is empty or holds a line break", "Clean the ids."
            )
    with fileio.open(path, "w") as file:
        file.write("".join(f"{item}\n" for item in ids))


def build_item_table(
    config: FeatureTransformConfig, pattern: str, graph: str, frequencies: Mapping[str, int]
) -> ItemTable:
    """Transforms every item, and one of which nothing is known, into the item table.

    Args:
        config: The features, and the columns to show.
        pattern: The items' tf.Examples, one per item.
        graph: Directory of the item side's transform graph.
        frequencies: Positive interactions in training by item id.
    """
    columns = read_item_columns(pattern, [config.item_column, *config.display])
    layer = tft.TFTransformOutput(graph).transform_features_layer()
    spec = preprocessing.raw_feature_spec(config.features, "item")
    unknown = tf.io.parse_example([tf.train.Example().SerializeToString()], spec)
    parts: dict[str, list[Array]] = {name: [] for name in config.features.item}
    for batch in itertools.chain(parsed_batches(pattern, spec), [unknown]):
        for name, values in layer(batch).items():
            parts[name].append(values.numpy())
    features = {name: np.concatenate(values) for name, values in parts.items()}
    counts = np.array([frequencies.get(item, 0) for item in columns[config.item_column]], np.int64)
    for name, feature in config.features.item.items():
        if isinstance(feature, Categorical) and feature.column == config.item_column and not feature.hash_buckets:
            # An item never seen in training would keep the random embedding it was born with; the id of the
            # unknown item is one that nothing in training has, so it shares that of the rare ones.
            rare = np.append(counts < config.item_id_min_count, True)
            features[name][rare] = preprocessing.UNKNOWN_ID
    return ItemTable(
        ids=columns[config.item_column],
        features=features,
        frequencies=counts,
        display={name: columns[name] for name in config.display},
    )


def measure_crosses(schema: FeatureSchema, table: ItemTable, pattern: str, spec: Mapping[str, Any]) -> FeatureSchema:
    """Counts what each cross covers in training, on a million rows at most.

    The number of distinct combinations is estimated from the share of used ids by linear counting (Whang,
    Vander-Zanden, Taylor 1990); the collision rate is the share of combinations that share their id.

    Args:
        schema: The schema whose crosses are measured.
        table: The transformed catalogue.
        pattern: The transformed training interactions.
        spec: How to parse them.

    Returns:
        The schema with ``distinct`` and ``collision_rate`` filled in.
    """
    seen = {cross.name: np.zeros(cross.buckets + 1, bool) for cross in schema.crosses}
    rows = 0
    for batch in parsed_batches(pattern, spec, 16_384) if schema.crosses else ():
        item_rows = batch[ITEM_ROW].numpy()[:, 0]
        for cross in schema.crosses:
            inputs = [
                batch[name].numpy() if schema.feature(name).side == "query" else table.features[name][item_rows]
                for name in cross.inputs
            ]
            ids = cross_ids_numpy(inputs, cross.name, cross.buckets)
            seen[cross.name][ids[ids > 0]] = True
        rows += len(item_rows)
        if rows >= _CROSS_ROWS:
            break
    return schema.model_copy(
        update={"crosses": tuple(_with_coverage(cross, int(seen[cross.name].sum())) for cross in schema.crosses)}
    )


def _with_coverage(cross: CrossOutput, used: int) -> CrossOutput:
    free = max(1.0 - used / cross.buckets, 0.5 / cross.buckets)
    distinct = max(used, round(-cross.buckets * float(np.log(free))))
    rate = 1.0 - used / distinct if distinct else 0.0
    return cross.model_copy(update={"distinct": distinct, "collision_rate": round(rate, 6)})
