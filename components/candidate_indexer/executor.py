"""Adapts TFX artifacts to the making of the index."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.candidate_indexer.build import always_exact, build_index, write_partitions
from crossrec.components.candidate_indexer.config import IndexConfig
from crossrec.components.candidate_indexer.divide import IndexedItems
from crossrec.components.candidate_indexer.former import FormerIndex, read_former
from crossrec.components.candidate_indexer.index import write_index
from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import USER, FeatureSchema
from crossrec.components.modeling import inputs, saving
from crossrec.components.retrieval_trainer import train
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.model import RetrievalModel

_BATCH = 1024
_SHUFFLED = 65_536


class Executor(base_executor.BaseExecutor):
    """Embeds the catalogue and writes the index."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see CandidateIndexer for inputs, outputs and parameters."""
        config = IndexConfig.model_validate_json(exec_properties["config"])
        directory = properties.uri(input_dict, "retrieval_model")
        schema = FeatureSchema.read(properties.uri(input_dict, "cross_set"))
        table = ItemTable.read(properties.uri(input_dict, "item_table"))
        refit = saving.read_config(directory, RetrievalConfig).refit
        former = _read_former(input_dict, table)
        if former is None:
            towers = [train.load(directory, schema, table, served) for served in ((False, True) if refit else (False,))]
            embeddings = [model.embed_catalogue() for model in towers]
        else:
            # What only an evaluation reads is left out: nothing was trained since the last one.
            towers = [train.load(directory, schema, table, served=True)]
            embeddings = [former.embed(towers[0])]
        target = properties.uri(output_dict, "candidate_index")
        write_index(target, *embeddings)
        items = IndexedItems(embeddings[-1], table.removed, None if former is None else former.partitions)
        queries, users = np.zeros((0, embeddings[-1].shape[1]), np.float32), np.zeros(0, np.int64)
        if not always_exact(config, len(items.present)):
            examples = artifact_utils.get_single_instance(input_dict["transformed_interactions"])
            graph = tft.TFTransformOutput(f"{properties.uri(input_dict, 'transform_graphs')}/query")
            data = inputs.TrainingData(properties.split_patterns(examples), graph.transformed_feature_spec())
            queries, users = embed_queries(towers[-1], schema, data, config)
        report, parts = build_index(items, queries, users, config, int(exec_properties["depth"]))
        report.write(target)
        if parts is not None:
            write_partitions(target, parts)


def _read_former(input_dict: dict[str, list[types.Artifact]], table: ItemTable) -> FormerIndex | None:
    """The index of an earlier catalogue, made by the same towers, where the component got one."""
    if not input_dict.get("former_index"):
        return None
    before = ItemTable.read(properties.uri(input_dict, "former_table"))
    return read_former(properties.uri(input_dict, "former_index"), before, table)


def embed_queries(
    model: RetrievalModel, schema: FeatureSchema, data: inputs.TrainingData, config: IndexConfig
) -> tuple[Array, Array]:
    """Some queries of the validation split, float32 ``[Q, D]``, and their users ``[Q]``."""
    rows = inputs.read_batches(data.patterns["validation"], data.spec, _BATCH, shuffle=_SHUFFLED, seed=config.seed)
    names = [feature.name for feature in schema.side("query")]
    embed = tf.function(model.embed_queries, autograph=False, reduce_retracing=True)
    queries, users = [], []
    for batch in rows.take(-(-config.queries // _BATCH)):
        queries.append(embed({name: batch[name] for name in names}).numpy())
        users.append(batch[USER].numpy()[:, 0])
    return np.concatenate(queries)[: config.queries], np.concatenate(users)[: config.queries]
