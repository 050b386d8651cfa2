"""Adapts TFX artifacts to the choice and the fit of crosses."""

from __future__ import annotations

from typing import Any

import tensorflow_transform as tft
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.cross_selector.config import CrossSelectorConfig
from crossrec.components.cross_selector.fit import FitPlan, add_fit
from crossrec.components.cross_selector.select import RunInputs, find_crosses
from crossrec.components.features.schema import FeatureSchema, add_crosses


class Executor(base_beam_executor.BaseBeamExecutor):
    """Chooses, fits and measures the crosses."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see CrossSelector for inputs, outputs and parameters."""
        config = CrossSelectorConfig.model_validate_json(exec_properties["config"])
        graphs = properties.uri(input_dict, "transform_graphs")
        interactions = artifact_utils.get_single_instance(input_dict["transformed_interactions"])
        training = properties.split_patterns(interactions)["train"]
        directory = properties.uri(output_dict, "cross_set")
        item_table = properties.uri(input_dict, "item_table")
        schema = FeatureSchema.read(graphs)
        spec = tft.TFTransformOutput(f"{graphs}/query").transformed_feature_spec()
        chosen = find_crosses(
            self._make_beam_pipeline,
            config,
            RunInputs(pattern=training, item_table=item_table, schema=schema, spec=spec),
            directory,
            self._get_tmp_dir(),
        )
        plan = FitPlan(
            schema=add_crosses(add_crosses(schema, config.crosses.explicit), chosen, found=True),
            item_table=item_table,
            label=config.label,
            spec=spec,
        )
        with self._make_beam_pipeline() as pipeline:
            add_fit(pipeline, training, plan, directory)
