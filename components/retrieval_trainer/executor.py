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
        ]
        with checkpoint_directory(exec_properties["checkpoint_root"], "retrieval", identity) as checkpoints:
            trained = train(
                FeatureSchema.read(properties.uri(input_dict, "cross_set")),
                ItemTable.read(properties.uri(input_dict, "item_table")),
                config,
                data,
                checkpoints,
            )
            save(properties.uri(output_dict, "retrieval_model"), trained, config)
