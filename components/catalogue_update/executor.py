"""Adapts TFX artifacts to the update of a catalogue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import TypeAdapter
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.catalogue_update.carry import Catalogue, carry_ranking, carry_retrieval
from crossrec.components.catalogue_update.changes import CatalogueChanges, compare
from crossrec.components.catalogue_update.graphs import extend_graphs, extend_schema
from crossrec.components.catalogue_update.read import read_catalogue
from crossrec.components.catalogue_update.table import update_table
from crossrec.components.catalogue_update.texts import with_texts
from crossrec.components.example_gen.config import ItemsTable, RawColumn
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.progress import progress

NEW, REMOVED, CHANGED = "new_items", "removed_items", "changed_items"
_RawColumns = TypeAdapter(tuple[RawColumn, ...])


class Executor(base_executor.BaseExecutor):
    """Reads, transforms and compares the catalogue, and carries graphs and models over to it."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see CatalogueUpdate for inputs, outputs and parameters.

        Where nothing differs, only the figures are written, unless ``always`` says otherwise.
        """
        source = {name: properties.uri(input_dict, name) for name in input_dict if input_dict[name]}
        target = {name: properties.uri(output_dict, name) for name in output_dict}
        with ThreadPoolExecutor(2) as beside:
            former = beside.submit(ItemTable.read, source["former_table"])
            trained, table = _read(source, exec_properties)
            changes = compare(former.result(), table)
            progress(str(changes))
            _tell(artifact_utils.get_single_instance(output_dict["item_table"]), changes, exec_properties)
            if changes.none and not int(exec_properties["always"]):
                return
            progress("carrying the models over")
            writing = beside.submit(_write, table, source, target)
            before = Catalogue(FeatureSchema.read(source["trained_cross_set"]), trained)
            now = Catalogue(extend_schema(source["trained_cross_set"], target["cross_set"], table.items), table)
            towers = beside.submit(
                carry_retrieval, source["trained_retrieval_model"], target["retrieval_model"], before, now
            )
            carry_ranking(source["trained_ranking_model"], target["ranking_model"], before, now)
            for part in (towers, writing):
                part.result()


def _read(source: Mapping[str, str], exec_properties: Mapping[str, Any]) -> tuple[ItemTable, ItemTable]:
    """The item table of the run that trained, and that of the newest catalogue."""
    progress("reading and checking the catalogue")
    items = read_catalogue(
        ItemsTable.model_validate_json(exec_properties["config"]),
        exec_properties["data_dir"],
        _RawColumns.validate_python(json.loads(exec_properties["columns"])),
    )
    progress(f"transforming {items.num_rows:,} items")
    transform = FeatureTransformConfig.model_validate_json(exec_properties["transform"])
    items = with_texts(items, transform.features, source, exec_properties["text_vectors"])
    trained = ItemTable.read(source["trained_item_table"])
    return trained, update_table(items, transform, f"{source['trained_transform_graphs']}/item", trained)


def _tell(artifact: types.Artifact, changes: CatalogueChanges, exec_properties: Mapping[str, Any]) -> None:
    """Writes what has changed beside the item table, and into its properties."""
    fileio.makedirs(artifact.uri)
    changes.write(artifact.uri)
    artifact.set_string_custom_property(properties.CATALOGUE, exec_properties["catalogue"])
    for name, number in (
        (properties.MODELS_FROM, int(exec_properties["models_from"])),
        (NEW, changes.new),
        (REMOVED, changes.removed),
        (CHANGED, changes.changed),
    ):
        artifact.set_int_custom_property(name, number)


def _write(table: ItemTable, source: Mapping[str, str], target: Mapping[str, str]) -> None:
    table.write(target["item_table"])
    extend_graphs(source["trained_transform_graphs"], target["transform_graphs"], table.ids)
