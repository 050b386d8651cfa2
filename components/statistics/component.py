"""The StatisticsGen component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components.specs import make_spec, output_channels
from crossrec.components.statistics.executor import Executor

StatisticsGenSpec = make_spec(
    "StatisticsGenSpec",
    inputs={"examples": standard_artifacts.Examples},
    outputs={"statistics": standard_artifacts.ExampleStatistics},
    parameters={"code_digest": str},
)


class StatisticsGen(base_beam_component.BaseBeamComponent):
    """Describes examples in figures, as TFX's component of that name, in memory that does not grow with the rows.

    The artifact is TFX's: SchemaGen, ExampleValidator and Facets read it.
    """

    SPEC_CLASS = StatisticsGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, examples: types.BaseChannel, code_digest: str):
        """Constructs the component.

        Args:
            examples: Examples.
            code_digest: Digest of the code, so that the cache notices a change.
        """
        outputs = output_channels(StatisticsGenSpec)
        super().__init__(spec=StatisticsGenSpec(examples=examples, code_digest=code_digest, **outputs))
