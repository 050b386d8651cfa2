"""The ExampleValidator component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components.example_validator.executor import Executor
from crossrec.components.specs import make_spec, output_channels

ExampleValidatorSpec = make_spec(
    "ExampleValidatorSpec",
    inputs={"statistics": standard_artifacts.ExampleStatistics, "schema": standard_artifacts.Schema},
    outputs={"anomalies": standard_artifacts.ExampleAnomalies},
    parameters={"schema_is_inferred": int, "table": str, "code_digest": str},
)


class ExampleValidator(base_component.BaseComponent):
    """Holds statistics against a schema, as TFX's component of that name, and stops the run at an anomaly."""

    SPEC_CLASS = ExampleValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        schema_is_inferred: bool,
        table: str,
        code_digest: str,
    ):
        """Constructs the component.

        Args:
            statistics: ExampleStatistics.
            schema: Schema.
            schema_is_inferred: Whether SchemaGen made the schema: then later splits may drift a little.
            table: ``interactions`` or ``items``, for messages.
            code_digest: Digest of the code, so that the cache notices a change.
        """
        outputs = output_channels(ExampleValidatorSpec)
        super().__init__(
            spec=ExampleValidatorSpec(
                statistics=statistics,
                schema=schema,
                schema_is_inferred=int(schema_is_inferred),
                table=table,
                code_digest=code_digest,
                **outputs,
            )
        )
