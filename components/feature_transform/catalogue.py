"""The catalogue's side of the transform: item vocabulary and item table."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx.dsl.io import fileio

from crossrec.components.errors import DataError
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.features import preprocessing
from crossrec.components.features.config import Categorical
from crossrec.components.features.examples import parsed_batches
from crossrec.components.features.item_table import Array, ItemTable


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
    return without_rare_ids(
        config,
        ItemTable(
            ids=columns[config.item_column],
            features=features,
            frequencies=counts,
            display={name: columns[name] for name in config.display},
        ),
    )


def without_rare_ids(config: FeatureTransformConfig, table: ItemTable) -> ItemTable:
    """The table, in which items that training has hardly seen have the id of unknown ones."""
    features = dict(table.features)
    for name, feature in config.features.item.items():
        if isinstance(feature, Categorical) and feature.column == config.item_column and not feature.hash_buckets:
            # An item never seen in training would keep the random embedding it was born with; the id of the
            # unknown item is one that nothing in training has, so it shares that of the rare ones.
            rare = np.append(table.frequencies < config.item_id_min_count, True)[:, None]
            features[name] = np.where(rare, preprocessing.UNKNOWN_ID, features[name])
    return replace(table, features=features)
