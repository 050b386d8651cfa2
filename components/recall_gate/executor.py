"""Reads the recall of an index, and writes the blessing."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.blessing import write_blessing
from crossrec.components.candidate_indexer.report import IndexReport


def refusal(report: IndexReport) -> str:
    """Why an index is not good enough; "" if it is."""
    if report.recall >= report.recall_target:
        return ""
    return (
        f"{report.metric} is {report.recall:.4f} on {report.queries:,} validation queries; the target "
        f"index.recall_target is {report.recall_target:g}"
    )


class Executor(base_executor.BaseExecutor):
    """Holds the recall against the target."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see RecallGate for inputs and outputs."""
        reason = refusal(IndexReport.read(properties.uri(input_dict, "candidate_index")))
        write_blessing(artifact_utils.get_single_instance(output_dict["blessing"]), not reason, reason)
