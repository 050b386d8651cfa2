"""The RankingExamples component."""

from __future__ import annotations

from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components.artifacts import CandidateIndex, CrossSet, ItemTable, RetrievalModel, TransformGraphs
from crossrec.components.ranking_examples.config import RankingExamplesConfig
from crossrec.components.ranking_examples.executor import Executor
from crossrec.components.specs import make_spec, output_channels

RankingExamplesSpec = make_spec(
    "RankingExamplesSpec",
    inputs={
        "transformed_interactions": standard_artifacts.Examples,
        "transform_graphs": TransformGraphs,
        "cross_set": CrossSet,
        "item_table": ItemTable,
        "retrieval_model": RetrievalModel,
        "candidate_index": CandidateIndex,
    },
    outputs={"ranking_examples": standard_artifacts.Examples},
    parameters={"config": str, "code_digest": str},
)


class RankingExamples(base_beam_component.BaseBeamComponent):
    """Logged rows and candidates of retrieval, with retrieval's score, as examples for the ranking model."""

    SPEC_CLASS = RankingExamplesSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, channels: Mapping[str, types.BaseChannel], config: RankingExamplesConfig, code_digest: str):
        """Constructs the component.

        Args:
            channels: ``transformed_interactions``, ``transform_graphs``, ``cross_set``, ``item_table``,
                ``retrieval_model``, ``candidate_index``.
            config: How many negatives, from where.
            code_digest: Digest of the code, so that the cache notices a change.
        """
        outputs = output_channels(RankingExamplesSpec)
        super().__init__(
            spec=RankingExamplesSpec(**channels, config=config.model_dump_json(), code_digest=code_digest, **outputs)
        )
