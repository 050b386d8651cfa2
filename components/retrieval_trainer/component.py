"""The RetrievalTrainer component."""

from __future__ import annotations

from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components.artifacts import CrossSet, ItemTable, PreviousModel, RetrievalModel, TransformGraphs
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.executor import Executor
from crossrec.components.specs import make_spec, output_channels

RetrievalTrainerSpec = make_spec(
    "RetrievalTrainerSpec",
    inputs={
        "transformed_interactions": standard_artifacts.Examples,
        "transform_graphs": TransformGraphs,
        "cross_set": CrossSet,
        "item_table": ItemTable,
        "previous_model": PreviousModel,
    },
    outputs={"retrieval_model": RetrievalModel},
    parameters={"config": str, "code_digest": str, "checkpoint_root": str},
    optional=("previous_model",),
)


class RetrievalTrainer(base_component.BaseComponent):
    """Trains the two towers with in-batch negatives."""

    SPEC_CLASS = RetrievalTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        channels: Mapping[str, types.BaseChannel],
        config: RetrievalConfig,
        code_digest: str,
        checkpoint_root: str,
    ):
        """Constructs the component.

        Args:
            channels: ``transformed_interactions``, ``transform_graphs``, ``cross_set``, ``item_table``, and perhaps
                ``previous_model`` to start from.
            config: Towers, loss, training; ``label`` is set.
            code_digest: Digest of the code, so that the cache notices a change.
            checkpoint_root: Directory that outlives a killed run, for checkpoints.
        """
        outputs = output_channels(RetrievalTrainerSpec)
        super().__init__(
            spec=RetrievalTrainerSpec(
                **channels,
                config=config.model_dump_json(),
                code_digest=code_digest,
                checkpoint_root=checkpoint_root,
                **outputs,
            )
        )
