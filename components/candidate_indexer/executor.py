"""Adapts TFX artifacts to the making of the index."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor

from crossrec.components import properties
from crossrec.components.candidate_indexer.index import write_index
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.modeling import saving
from crossrec.components.retrieval_trainer import train
from crossrec.components.retrieval_trainer.config import RetrievalConfig


class Executor(base_executor.BaseExecutor):
    """Embeds the catalogue and writes the index."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see CandidateIndexer for inputs, outputs and parameters."""
        del exec_properties
        directory = properties.uri(input_dict, "retrieval_model")
        schema = FeatureSchema.read(properties.uri(input_dict, "cross_set"))
        table = ItemTable.read(properties.uri(input_dict, "item_table"))
        refit = saving.read_config(directory, RetrievalConfig).refit
        towers = [train.load(directory, schema, table, served) for served in ((False, True) if refit else (False,))]
        write_index(properties.uri(output_dict, "candidate_index"), *(model.embed_catalogue() for model in towers))
