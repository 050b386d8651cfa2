"""The CandidateIndexer component."""

from __future__ import annotations

from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec

from crossrec.components.artifacts import CandidateIndex, CrossSet, ItemTable, RetrievalModel
from crossrec.components.candidate_indexer.executor import Executor
from crossrec.components.specs import make_spec, output_channels

CandidateIndexerSpec = make_spec(
    "CandidateIndexerSpec",
    inputs={"cross_set": CrossSet, "item_table": ItemTable, "retrieval_model": RetrievalModel},
    outputs={"candidate_index": CandidateIndex},
    parameters={"code_digest": str},
)


class CandidateIndexer(base_component.BaseComponent):
    """Embeds every item with the candidate tower and arranges the embeddings for search."""

    SPEC_CLASS = CandidateIndexerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, channels: Mapping[str, types.BaseChannel], code_digest: str):
        """Constructs the component.

        Args:
            channels: ``cross_set``, ``item_table``, ``retrieval_model``.
            code_digest: Digest of the code, so that the cache notices a change.
        """
        outputs = output_channels(CandidateIndexerSpec)
        super().__init__(spec=CandidateIndexerSpec(**channels, code_digest=code_digest, **outputs))
