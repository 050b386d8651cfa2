"""The Evaluation component."""

from __future__ import annotations

from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components import artifacts
from crossrec.components.evaluation.config import EvaluationConfig, EvaluationRoles
from crossrec.components.evaluation.executor import Executor
from crossrec.components.specs import make_spec, output_channels

EvaluationSpec = make_spec(
    "EvaluationSpec",
    inputs={
        "interactions": standard_artifacts.Examples,
        "ranking_examples": standard_artifacts.Examples,
        "transform_graphs": artifacts.TransformGraphs,
        "cross_set": artifacts.CrossSet,
        "item_table": artifacts.ItemTable,
        "ranking_model": artifacts.RankingModel,
        "candidate_index": artifacts.CandidateIndex,
        "bundle": artifacts.ServingBundle,
    },
    outputs={"report": artifacts.EvaluationReport, "blessing": standard_artifacts.ModelBlessing},
    parameters={"config": str, "roles": str, "code_digest": str},
)


class Evaluation(base_component.BaseComponent):
    """Measures the bundle on the test split against popularity, and blesses it if it meets the thresholds."""

    SPEC_CLASS = EvaluationSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        channels: Mapping[str, types.BaseChannel],
        config: EvaluationConfig,
        roles: EvaluationRoles,
        code_digest: str,
    ):
        """Constructs the component.

        Args:
            channels: ``interactions`` (raw), ``ranking_examples``, ``transform_graphs``, ``cross_set``, ``item_table``,
                ``ranking_model``, ``candidate_index``, ``bundle``.
            config: Metrics, slices, thresholds.
            roles: Role columns of the interactions.
            code_digest: Digest of the code, so that the cache notices a change.
        """
        outputs = output_channels(EvaluationSpec)
        super().__init__(
            spec=EvaluationSpec(
                **channels,
                config=config.model_dump_json(),
                roles=roles.model_dump_json(),
                code_digest=code_digest,
                **outputs,
            )
        )
