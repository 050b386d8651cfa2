"""Adapts TFX artifacts to the statistics."""

from __future__ import annotations

import posixpath
from typing import Any

from tfx import types
from tfx.components.statistics_gen.executor import DEFAULT_FILE_NAME
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.statistics.files import add_statistics


class Executor(base_beam_executor.BaseBeamExecutor):
    """Describes every split in figures."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see StatisticsGen for inputs and outputs."""
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        statistics = artifact_utils.get_single_instance(output_dict["statistics"])
        statistics.split_names, statistics.span = examples.split_names, examples.span
        with self._make_beam_pipeline() as pipeline:
            for split, pattern in properties.split_patterns(examples).items():
                path = posixpath.join(artifact_utils.get_split_uri([statistics], split), DEFAULT_FILE_NAME)
                add_statistics(pipeline, split, sorted(fileio.glob(pattern)), path)
