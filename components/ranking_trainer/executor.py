"""Adapts TFX artifacts to the training of the ranking model."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import CANDIDATE, RETRIEVAL_SCORE, RETRIEVED, WEIGHT, FeatureSchema
from crossrec.components.modeling import saving
from crossrec.components.modeling.checkpoints import checkpoint_directory
from crossrec.components.modeling.inputs import TrainingData
from crossrec.components.modeling.launch import on_workers
from crossrec.components.modeling.warm_start import find_start
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.ranking_trainer.train import train


def ranking_data(graphs: str, examples: types.Artifact) -> TrainingData:
    """Where ranking examples lie, and how to parse them."""
    spec = tft.TFTransformOutput(f"{graphs}/query").transformed_feature_spec()
    added = {
        RETRIEVAL_SCORE: tf.io.FixedLenFeature([1], tf.float32),
        WEIGHT: tf.io.FixedLenFeature([1], tf.float32),
        RETRIEVED: tf.io.FixedLenFeature([1], tf.int64),
        CANDIDATE: tf.io.FixedLenFeature([1], tf.int64),
    }
    return TrainingData(properties.split_patterns(examples), spec | added)


class Executor(base_executor.BaseExecutor):
    """Trains and saves the ranking model."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see RankingTrainer for inputs, outputs and parameters."""
        config = RankingConfig.model_validate_json(exec_properties["config"])
        if on_workers(self, input_dict, output_dict, exec_properties, config.training.workers):
            return
        graphs = properties.uri(input_dict, "transform_graphs")
        examples = artifact_utils.get_single_instance(input_dict["ranking_examples"])
        identity = [
            exec_properties["config"],
            exec_properties["code_digest"],
            examples.uri,
            graphs,
            properties.uri(input_dict, "cross_set"),
            *(artifact.uri for artifact in input_dict.get("previous_model", ())),
        ]
        warm = find_start(input_dict, "ranking_model")
        with checkpoint_directory(exec_properties["checkpoint_root"], "ranking", identity) as checkpoints:
            model, history = train(
                FeatureSchema.read(properties.uri(input_dict, "cross_set")),
                ItemTable.read(properties.uri(input_dict, "item_table")),
                config,
                ranking_data(graphs, examples),
                checkpoints,
                warm,
            )
            saving.save(properties.uri(output_dict, "ranking_model"), model, config, history)
        if warm is not None:
            warm.write_report(artifact_utils.get_single_instance(output_dict["ranking_model"]))
