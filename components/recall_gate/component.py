"""The RecallGate component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components.artifacts import CandidateIndex
from crossrec.components.recall_gate.executor import Executor
from crossrec.components.specs import make_spec, output_channels

RecallGateSpec = make_spec(
    "RecallGateSpec",
    inputs={"candidate_index": CandidateIndex},
    outputs={"blessing": standard_artifacts.ModelBlessing},
    parameters={},
)


class RecallGate(base_component.BaseComponent):
    """Blesses what is made of an index whose measured recall is at least its target."""

    SPEC_CLASS = RecallGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, candidate_index: types.BaseChannel):
        """Constructs the component.

        Args:
            candidate_index: Channel of ``CandidateIndex``.
        """
        super().__init__(spec=RecallGateSpec(candidate_index=candidate_index, **output_channels(RecallGateSpec)))
