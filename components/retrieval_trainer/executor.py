"""Adapts TFX artifacts to the training of the retrieval model."""

from __future__ import annotations

from typing import Any

import tensorflow_transform as tft
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.modeling.checkpoints import checkpoint_directory
from crossrec.components.modeling.inputs import TrainingData
from crossrec.components.modeling.launch import on_workers
from crossrec.components.modeling.warm_start import find_start
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.train import save, train


class Executor(base_executor.BaseExecutor):
    """Trains and saves the two towers."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see RetrievalTrainer for inputs, outputs and parameters."""
        config = RetrievalConfig.model_validate_json(exec_properties["config"])
        if on_workers(self, input_dict, output_dict, exec_properties, config.training.workers):
            return
        graphs = properties.uri(input_dict, "transform_graphs")
        examples = artifact_utils.get_single_instance(input_dict["transformed_interactions"])
        data = TrainingData(
            properties.split_patterns(examples), tft.TFTransformOutput(f"{graphs}/query").transformed_feature_spec()
        )
        identity = [
            exec_properties["config"],
            exec_properties["code_digest"],
            examples.uri,
            graphs,
            properties.uri(input_dict, "cross_set"),
            *(artifact.uri for artifact in input_dict.get("previous_model", ())),
        ]
        warm = find_start(input_dict, "retrieval_model")
        with checkpoint_directory(exec_properties["checkpoint_root"], "retrieval", identity) as checkpoints:
            trained = train(
                FeatureSchema.read(properties.uri(input_dict, "cross_set")),
                ItemTable.read(properties.uri(input_dict, "item_table")),
                config,
                data,
                checkpoints,
                warm,
            )
            save(properties.uri(output_dict, "retrieval_model"), trained, config)
        if warm is not None:
            warm.write_report(artifact_utils.get_single_instance(output_dict["retrieval_model"]))
