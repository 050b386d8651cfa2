"""The RankingTrainer component."""

from __future__ import annotations

from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components.artifacts import CrossSet, ItemTable, PreviousModel, RankingModel, TransformGraphs
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.ranking_trainer.executor import Executor
from crossrec.components.specs import make_spec, output_channels

RankingTrainerSpec = make_spec(
    "RankingTrainerSpec",
    inputs={
        "ranking_examples": standard_artifacts.Examples,
        "transform_graphs": TransformGraphs,
        "cross_set": CrossSet,
        "item_table": ItemTable,
        "previous_model": PreviousModel,
    },
    outputs={"ranking_model": RankingModel},
    parameters={"config": str, "code_digest": str, "checkpoint_root": str},
    optional=("previous_model",),
)


class RankingTrainer(base_component.BaseComponent):
    """Trains the ranking model."""

    SPEC_CLASS = RankingTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        channels: Mapping[str, types.BaseChannel],
        config: RankingConfig,
        code_digest: str,
        checkpoint_root: str,
    ):
        """Constructs the component.

        Args:
            channels: ``ranking_examples``, ``transform_graphs``, ``cross_set``, ``item_table``, and perhaps
                ``previous_model`` to start from.
            config: Features, interaction, tasks, training.
            code_digest: Digest of the code, so that the cache notices a change.
            checkpoint_root: Directory that outlives a killed run, for checkpoints.
        """
        outputs = output_channels(RankingTrainerSpec)
        super().__init__(
            spec=RankingTrainerSpec(
                **channels,
                config=config.model_dump_json(),
                code_digest=code_digest,
                checkpoint_root=checkpoint_root,
                **outputs,
            )
        )
