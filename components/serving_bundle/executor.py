"""Adapts TFX artifacts to the making of a bundle."""

from __future__ import annotations

import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.serving_bundle.config import ServingConfig
from crossrec.components.serving_bundle.export import export, load_parts
from crossrec.components.serving_bundle.requests import fill_vectors, sample_rows
from crossrec.components.warm_start.lineage import record_parts
from crossrec.components.warm_start.records import OF_TEXTS

_PARTS = ("transform_graphs", "cross_set", "item_table", "retrieval_model", "candidate_index", "ranking_model")


class Executor(base_executor.BaseExecutor):
    """Exports the bundle."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see ServingBundle for inputs, outputs and parameters."""
        config = ServingConfig.model_validate_json(exec_properties["config"])
        # The file's name becomes the asset's name, which the publisher looks for.
        version_file = os.path.join(self._get_tmp_dir(), "model_version.txt")
        os.makedirs(os.path.dirname(version_file), exist_ok=True)
        with open(version_file, "w", encoding="utf-8") as file:
            file.write("version\t0\n")
        names = (*_PARTS, *(name for name in OF_TEXTS if input_dict.get(name)))
        parts = load_parts({name: properties.uri(input_dict, name) for name in names}, version_file)
        interactions = artifact_utils.get_single_instance(input_dict["interactions"])
        requests = sample_rows(
            properties.split_patterns(interactions)["validation"], parts.schema.raw_query, config.golden_requests
        )
        requests = fill_vectors(requests, parts.schema.raw_widths)
        export(properties.uri(output_dict, "bundle"), parts, config, requests)
        record_parts(artifact_utils.get_single_instance(output_dict["bundle"]), input_dict, interactions)
