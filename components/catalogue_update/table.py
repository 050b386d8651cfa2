"""A newer catalogue in the rows of the one that models were trained with."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec.components.catalogue_update.transform import transform_items
from crossrec.components.feature_transform.catalogue import without_rare_ids
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.features import preprocessing
from crossrec.components.features.item_table import Array, ItemTable, differing_rows, places_in


def update_table(items: pa.Table, config: FeatureTransformConfig, graph: str, trained: ItemTable) -> ItemTable:
    """Puts a newer catalogue into the item table of a run.

    An item that the run knew keeps its row, because all that was learnt of it is known by row: vectors of recent
    items, popularity, what a graph spread, crosses of recent items. New items follow behind, ordered by id. Those that
    are gone keep the features that they had, for users who have met them, and are marked.

    Args:
        items: The raw catalogue, ordered by id.
        config: The features of the run, and the columns to show.
        graph: Directory of the item side's transform graph.
        trained: The item table of the run.
    """
    ids = items.column(config.item_column).to_numpy()
    places = places_in(ids, trained.ids)
    new = places < 0
    known = np.flatnonzero(~new)
    rows = np.where(new, trained.items + np.cumsum(new) - 1, places)
    count = trained.items + int(new.sum())
    gone = np.ones(count, np.bool_)
    gone[rows] = False
    features = {}
    spec = preprocessing.raw_feature_spec(config.features, "item")
    for name, values in transform_items(items, spec, graph).items():
        former = trained.features[name]
        features[name] = np.empty([count + 1, values.shape[1]], values.dtype)
        features[name][: trained.items] = former[:-1]
        # What has not changed stays as it is to the last bit, and with it all scores.
        told = new.copy()
        told[known] = differing_rows(values, known, former, places[known])
        features[name][rows[told]] = values[told]
        features[name][-1] = former[-1]
    frequencies = np.zeros(count, np.int64)
    frequencies[: trained.items] = trained.frequencies
    return without_rare_ids(
        config,
        ItemTable(
            ids=np.concatenate([trained.ids, ids[new]]),
            features=features,
            frequencies=frequencies,
            display={name: _texts(items, name, rows, count) for name in config.display},
            removed=gone if gone.any() else None,
        ),
    )


def _texts(items: pa.Table, name: str, rows: Array, count: int) -> Array:
    """A raw column by row: "" where missing or gone, ", " between several values."""
    column = items.column(name).combine_chunks()
    if pa.types.is_list(column.type):
        column = pc.binary_join(column, ", ")
    out = np.full(count, "", object)
    out[rows] = pc.fill_null(column, "").to_numpy(zero_copy_only=False)
    return out
