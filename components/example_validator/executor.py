"""TFX's ExampleValidator, and after it a stop at what it found."""

from __future__ import annotations

import os
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import executor as tfx_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from crossrec.components.errors import DataError
from crossrec.components.example_validator.anomalies import findings
from crossrec.components.progress import progress

_SHOWN = 10


class Executor(tfx_executor.Executor):
    """Validates as TFX does; anomalies stop the run."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        """Runs the component.

        Raises:
            DataError: An anomaly that stops the run was found.
        """
        inferred = bool(exec_properties["schema_is_inferred"])
        table = exec_properties["table"]
        result = super().Do(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(output_dict["anomalies"])
        found = []
        for split in artifact_utils.decode_split_names(artifact.split_names):
            path = os.path.join(artifact_utils.get_split_uri([artifact], split), tfx_executor.DEFAULT_FILE_NAME)
            anomalies = anomalies_pb2.Anomalies()
            with fileio.open(path, "rb") as file:
                anomalies.ParseFromString(file.read())
            found += findings(split, anomalies, inferred)
        for finding in [finding for finding in found if not finding.stops][:_SHOWN]:
            progress(f"note on {table}: {finding}")
        stops = [str(finding) for finding in found if finding.stops]
        if stops:
            raise DataError(
                f"data.{table}",
                f"{len(stops)} anomalies against the schema: " + "; ".join(stops[:_SHOWN]),
                "Mend the data, or give a schema that allows it in the spec's validation section.",
            )
        return result
