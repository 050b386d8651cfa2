"""Running a pipeline on this machine, node after node, with a word on each."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import launcher, runtime_parameter_utils

_DONE = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)


@dataclass(frozen=True)
class Output:
    """One output artifact: where it lies, and its custom properties."""

    uri: str
    properties: dict[str, Any]


@dataclass(frozen=True)
class NodeResult:
    """What became of one node.

    Attributes:
        node: Id of the node.
        seconds: How long it took.
        cached: Whether the result of an earlier run was taken.
        outputs: Its output artifacts.
    """

    node: str
    seconds: float
    cached: bool
    outputs: dict[str, Output]


class NodeFailedError(RuntimeError):
    """A node did not end well; its exception, if it raised one, is the cause."""

    def __init__(self, node: str):
        """Names the node."""
        super().__init__(f"{node} failed")
        self.node = node


def run_pipeline(
    pipeline: Pipeline,
    on_start: Callable[[str], None],
    on_end: Callable[[NodeResult], None],
    never_cached: Collection[str] = (),
) -> dict[str, NodeResult]:
    """Runs a pipeline as TFX's LocalDagRunner does, and tells what happens.

    Args:
        pipeline: The pipeline.
        on_start: Called with the id of a node that begins.
        on_end: Called with the result of a node that ended well.
        never_cached: Nodes that run every time, because their work shows outside of the artifacts.

    Returns:
        The results by node id.

    Raises:
        NodeFailedError: A node raised, or its inputs could not be resolved.
    """
    ir = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: datetime.now().isoformat()}
    )
    deployment = runner_utils.extract_local_deployment_config(ir)
    config = deployment.metadata_connection_config
    connection = getattr(config, config.WhichOneof("connection_config"))
    results: dict[str, NodeResult] = {}
    for entry in ir.nodes:
        node = entry.pipeline_node
        name = node.node_info.id
        if name in never_cached:
            node.execution_options.caching_options.enable_cache = False
        on_start(name)
        started = time.monotonic()
        try:
            execution = launcher.Launcher(
                pipeline_node=node,
                mlmd_connection=metadata.Metadata(connection),
                pipeline_info=ir.pipeline_info,
                pipeline_runtime_spec=ir.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, name),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
            ).launch()
        except Exception as error:
            raise NodeFailedError(name) from error
        state, outputs = _read_execution(connection, execution)
        if state not in _DONE:
            # TFX reports inputs that it cannot resolve by a failed execution only.
            raise NodeFailedError(name)
        results[name] = NodeResult(
            name, time.monotonic() - started, state == metadata_store_pb2.Execution.CACHED, outputs
        )
        on_end(results[name])
    return results


def _read_execution(connection: Any, execution: Any) -> tuple[int, dict[str, Output]]:
    """State and outputs of an execution as ML Metadata knows them."""
    if execution is None or execution.execution_id is None:
        return metadata_store_pb2.Execution.UNKNOWN, {}
    with metadata.Metadata(connection) as handle:
        (record,) = handle.store.get_executions_by_id([execution.execution_id])
        events = handle.store.get_events_by_execution_ids([execution.execution_id])
        names = {
            event.artifact_id: event.path.steps[0].key
            for event in events
            if event.type == metadata_store_pb2.Event.OUTPUT
        }
        artifacts = handle.store.get_artifacts_by_id(list(names))
    return record.last_known_state, {
        names[artifact.id]: Output(artifact.uri, {k: _value(v) for k, v in artifact.custom_properties.items()})
        for artifact in artifacts
    }


def _value(value: metadata_store_pb2.Value) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None
