"""What ML Metadata knows of a root's runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as proto

State = proto.Execution.State


@dataclass(frozen=True)
class Node:
    """One execution of one node.

    Attributes:
        id: Of the execution; later ones have higher ids.
        name: The node.
        state: For example ``COMPLETE``, ``CACHED``, ``FAILED``, ``RUNNING``.
        outputs: Artifacts by key.
        inputs: Ids of the artifacts that it read.
    """

    id: int
    name: str
    state: str
    outputs: Mapping[str, proto.Artifact]
    inputs: Sequence[int]


@dataclass(frozen=True)
class Lineage:
    """All executions of a root, in their order."""

    nodes: Sequence[Node]

    @classmethod
    def read(cls, root: Path) -> Lineage:
        """Read the database of a root."""
        connection = proto.ConnectionConfig()
        connection.sqlite.filename_uri = str(root / "metadata.sqlite")
        connection.sqlite.connection_mode = proto.SqliteMetadataSourceConfig.READONLY
        store = MetadataStore(connection)
        artifacts = {artifact.id: artifact for artifact in store.get_artifacts()}
        executions = sorted(store.get_executions(), key=lambda execution: execution.id)
        outputs: dict[int, dict[str, Any]] = defaultdict(dict)
        inputs: dict[int, list[int]] = defaultdict(list)
        for event in store.get_events_by_execution_ids([execution.id for execution in executions]):
            if event.type == proto.Event.OUTPUT:
                outputs[event.execution_id][event.path.steps[0].key] = artifacts[event.artifact_id]
            elif event.type == proto.Event.INPUT:
                inputs[event.execution_id].append(event.artifact_id)
        nodes = []
        for execution in executions:
            # Its contexts are the pipeline, the run, the cache key and the node, which is named pipeline.node.
            names = [c.name for c in store.get_contexts_by_execution(execution.id) if c.type == "node"]
            nodes.append(
                Node(
                    execution.id,
                    names[0].partition(".")[2],
                    State.Name(execution.last_known_state),
                    outputs[execution.id],
                    inputs[execution.id],
                )
            )
        return cls(nodes)

    def of(self, name: str) -> list[Node]:
        """The executions of one node, the latest last."""
        return [node for node in self.nodes if node.name == name]

    def first_outputs(self) -> dict[str, dict[str, str]]:
        """URI by node and output key, of each node's first complete execution."""
        first: dict[str, dict[str, str]] = {}
        for node in self.nodes:
            if node.state == "COMPLETE":
                first.setdefault(node.name, {key: artifact.uri for key, artifact in node.outputs.items()})
        return first

    def ancestors(self, artifact: int) -> set[int]:
        """Ids of the artifacts that an artifact was made from, at any distance."""
        makers = {
            output.id: node for node in self.nodes for output in node.outputs.values() if node.state == "COMPLETE"
        }
        found: set[int] = set()
        waiting = [artifact]
        while waiting:
            maker = makers.get(waiting.pop())
            for parent in maker.inputs if maker else ():
                if parent not in found:
                    found.add(parent)
                    waiting.append(parent)
        return found
