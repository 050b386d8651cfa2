"""The CrossSelector component."""

from __future__ import annotations

from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components.artifacts import CrossSet, ItemTable, TransformGraphs
from crossrec.components.cross_selector.config import CrossSelectorConfig
from crossrec.components.cross_selector.executor import Executor
from crossrec.components.specs import make_spec, output_channels

CrossSelectorSpec = make_spec(
    "CrossSelectorSpec",
    inputs={
        "transformed_interactions": standard_artifacts.Examples,
        "transform_graphs": TransformGraphs,
        "item_table": ItemTable,
    },
    outputs={"cross_set": CrossSet},
    parameters={"config": str, "code_digest": str},
)


class CrossSelector(base_beam_component.BaseBeamComponent):
    """Finds feature crosses in the training split, and fits them and the explicit ones.

    It comes after the feature transform, so that crosses are chosen on the very ids that serving sees. Output:
    ``cross_set``, the schema of all features and crosses, which every later component reads.
    """

    SPEC_CLASS = CrossSelectorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, channels: Mapping[str, types.BaseChannel], config: CrossSelectorConfig, code_digest: str):
        """Constructs the component.

        Args:
            channels: ``transformed_interactions``, ``transform_graphs``, ``item_table``.
            config: Explicit crosses, and how to find others.
            code_digest: Digest of the code, so that the cache notices a change.
        """
        outputs = output_channels(CrossSelectorSpec)
        super().__init__(
            spec=CrossSelectorSpec(**channels, config=config.model_dump_json(), code_digest=code_digest, **outputs)
        )
