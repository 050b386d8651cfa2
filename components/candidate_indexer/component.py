"""The CandidateIndexer component."""

from __future__ import annotations

from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components.artifacts import CandidateIndex, CrossSet, ItemTable, RetrievalModel, TransformGraphs
from crossrec.components.candidate_indexer.config import IndexConfig
from crossrec.components.candidate_indexer.executor import Executor
from crossrec.components.specs import make_spec, output_channels

CandidateIndexerSpec = make_spec(
    "CandidateIndexerSpec",
    inputs={
        "transformed_interactions": standard_artifacts.Examples,
        "transform_graphs": TransformGraphs,
        "cross_set": CrossSet,
        "item_table": ItemTable,
        "retrieval_model": RetrievalModel,
        "former_table": ItemTable,
        "former_index": CandidateIndex,
    },
    outputs={"candidate_index": CandidateIndex},
    parameters={"config": str, "depth": int, "code_digest": str},
    optional=("former_table", "former_index"),
)


class CandidateIndexer(base_component.BaseComponent):
    """Embeds every item with the candidate tower, arranges the embeddings for search and measures the search."""

    SPEC_CLASS = CandidateIndexerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, channels: Mapping[str, types.BaseChannel], config: IndexConfig, depth: int, code_digest: str):
        """Constructs the component.

        Args:
            channels: ``transformed_interactions``, ``transform_graphs``, ``cross_set``, ``item_table``,
                ``retrieval_model``; and ``former_table`` and ``former_index``, the catalogue that the same towers
                were served with before, to make anew only what has changed.
            config: The ``index`` section of the spec.
            depth: Items that one search gives.
            code_digest: Digest of the code, so that the cache notices a change.
        """
        outputs = output_channels(CandidateIndexerSpec)
        super().__init__(
            spec=CandidateIndexerSpec(
                **channels, config=config.model_dump_json(), depth=depth, code_digest=code_digest, **outputs
            )
        )
