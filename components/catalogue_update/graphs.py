"""Transform graphs and schema of a run, for a catalogue that has grown."""

from __future__ import annotations

from tfx.dsl.io import fileio
from tfx.utils import io_utils

from crossrec.components.feature_transform.catalogue import write_item_vocabulary
from crossrec.components.feature_transform.transform import ITEM_VOCABULARY
from crossrec.components.features.item_table import Array
from crossrec.components.features.schema import FeatureSchema

_ASSETS = "query/transform_fn/assets"


def extend_graphs(source: str, target: str, ids: Array) -> None:
    """Copies transform graphs, with the ids of other items in place of theirs.

    The graph of the query side looks recent items up in a file of its own, which is read when the graph is loaded.

    Args:
        source: Directory of a run's transform graphs.
        target: Where to.
        ids: Item ids in the order of the item table.

    Raises:
        DataError: An id holds a line break.
    """
    io_utils.copy_dir(source, target)
    write_item_vocabulary(ids, f"{target}/{ITEM_VOCABULARY}")
    inside = f"{target}/{_ASSETS}/{ITEM_VOCABULARY}"
    if fileio.exists(inside):
        fileio.copy(f"{target}/{ITEM_VOCABULARY}", inside, overwrite=True)
    extend_schema(target, target, len(ids))


def extend_schema(source: str, target: str, items: int) -> FeatureSchema:
    """Copies a directory with a schema, and says how many items there are now.

    Args:
        source: The directory.
        target: Where to; may be the same.
        items: Rows of the item table, without that of unknown items.

    Returns:
        The schema.
    """
    if source != target:
        io_utils.copy_dir(source, target)
    schema = FeatureSchema.read(source)
    features = tuple(
        feature.model_copy(update={"cardinality": items}) if feature.kind == "items" else feature
        for feature in schema.features
    )
    extended = schema.model_copy(update={"features": features, "items": items})
    extended = extended.with_fitted(schema.crosses, schema.tables)
    extended.write(target)
    return extended
