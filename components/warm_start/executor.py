"""Looks up the release to start from."""

from __future__ import annotations

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.modeling.warm_start import PreviousRelease
from crossrec.components.progress import progress
from crossrec.components.warm_start.config import WarmStartConfig
from crossrec.components.warm_start.records import (
    ReleaseRecord,
    choose,
    of_other_data,
    read_records,
)


class Executor(base_executor.BaseExecutor):
    """Writes down which release it is, or that there is none."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see PreviousModel for inputs, outputs and parameters."""
        config = WarmStartConfig.model_validate_json(exec_properties["config"])
        interactions = artifact_utils.get_single_instance(input_dict["interactions"])
        records = read_records(exec_properties["serving_root"], exec_properties["model_name"])
        records = of_other_data(records, str(interactions.get_string_custom_property(properties.INPUT_FINGERPRINT)))
        if exec_properties.get("known"):
            known = json.loads(exec_properties["known"])
            records = [record for record in records if record.version in known]
        found = choose(records, config, int(interactions.get_int_custom_property(properties.TRAINED_UNTIL)))
        progress(_told(found, records, config))
        previous = PreviousRelease()
        if found is not None:
            previous = PreviousRelease(version=found.version, epochs=config.epochs, artifacts=found.artifacts)
        previous.write(properties.uri(output_dict, "previous_model"))
        artifact_utils.get_single_instance(output_dict["previous_model"]).set_int_custom_property(
            "version", previous.version
        )


def _told(found: ReleaseRecord | None, records: list[ReleaseRecord], config: WarmStartConfig) -> str:
    if found is not None:
        return f"the models start from version {found.version}"
    if config.release != "last" and config.release not in [record.version for record in records]:
        there = ", ".join(str(record.version) for record in records)
        return f"cold start: there is no version {config.release} of other data (there are: {there or 'none'})"
    if records:
        return "cold start: every published model was trained on rows that this run measures on, or on later ones"
    return "cold start: nothing was published yet"
