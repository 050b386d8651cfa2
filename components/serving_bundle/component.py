"""The ServingBundle component."""

from __future__ import annotations

from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components import artifacts
from crossrec.components.serving_bundle.config import ServingConfig
from crossrec.components.serving_bundle.executor import Executor
from crossrec.components.specs import make_spec, output_channels

ServingBundleSpec = make_spec(
    "ServingBundleSpec",
    inputs={
        "interactions": standard_artifacts.Examples,
        "transform_graphs": artifacts.TransformGraphs,
        "cross_set": artifacts.CrossSet,
        "item_table": artifacts.ItemTable,
        "retrieval_model": artifacts.RetrievalModel,
        "candidate_index": artifacts.CandidateIndex,
        "ranking_model": artifacts.RankingModel,
        "text_encoders": artifacts.TextEncoders,
        "text_embeddings": artifacts.TextEmbeddings,
    },
    outputs={"bundle": artifacts.ServingBundle},
    parameters={"config": str, "code_digest": str},
    optional=("text_encoders", "text_embeddings"),
)


class ServingBundle(base_component.BaseComponent):
    """Joins transform, towers, index, item features, crosses and ranking into one SavedModel."""

    SPEC_CLASS = ServingBundleSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, channels: Mapping[str, types.BaseChannel], config: ServingConfig, code_digest: str):
        """Constructs the component.

        Args:
            channels: ``interactions`` (for golden requests), ``transform_graphs``, ``cross_set``, ``item_table``,
                ``retrieval_model``, ``candidate_index``, ``ranking_model``; where the spec has encoders
                ``text_encoders`` and ``text_embeddings``.
            config: Sizes and names.
            code_digest: Digest of the code, so that the cache notices a change.
        """
        outputs = output_channels(ServingBundleSpec)
        super().__init__(
            spec=ServingBundleSpec(**channels, config=config.model_dump_json(), code_digest=code_digest, **outputs)
        )
