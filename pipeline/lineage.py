"""What ML Metadata says of the artifacts of a root: which execution made them, and of what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as proto

_DONE = (proto.Execution.COMPLETE, proto.Execution.CACHED)


@dataclass(frozen=True)
class Made:
    """One finished execution.

    Attributes:
        kind: Name of the component's class.
        inputs: URI by input, of those with one artifact.
        properties: Execution properties that are text.
    """

    kind: str
    inputs: Mapping[str, str]
    properties: Mapping[str, str]


class Lineage:
    """Looks artifacts up by where they lie."""

    def __init__(self, database: str):
        """Opens a SQLite database of ML Metadata for reading."""
        connection = proto.ConnectionConfig()
        connection.sqlite.filename_uri = database
        connection.sqlite.connection_mode = proto.SqliteMetadataSourceConfig.READONLY
        self._store = MetadataStore(connection)

    def maker(self, uri: str) -> Made | None:
        """The execution that made what lies there; None if no one knows."""
        return self._first(uri, (proto.Event.OUTPUT, proto.Event.DECLARED_OUTPUT), None)

    def user(self, uri: str, kind: str) -> Made | None:
        """The latest execution of a component that read what lies there; None if there was none."""
        return self._first(uri, (proto.Event.INPUT, proto.Event.DECLARED_INPUT), kind)

    def _first(self, uri: str, events: tuple[int, ...], kind: str | None) -> Made | None:
        artifacts = [artifact.id for artifact in self._store.get_artifacts_by_uri(uri)]
        if not artifacts:
            return None
        found = self._store.get_events_by_artifact_ids(artifacts)
        ids = sorted({event.execution_id for event in found if event.type in events})
        executions = {execution.id: execution for execution in self._store.get_executions_by_id(ids)}
        # A later execution may have taken an artifact from the cache, or imported it; the first one made it.
        for number in ids if kind is None else reversed(ids):
            execution = executions[number]
            name = self._kind(execution)
            if execution.last_known_state in _DONE and (kind is None or name == kind):
                return Made(name, self._inputs(number), _texts(execution))
        return None

    def _kind(self, execution: Any) -> str:
        (kind,) = self._store.get_execution_types_by_id([execution.type_id])
        return str(kind.name).rpartition(".")[2]

    def _inputs(self, execution: int) -> dict[str, str]:
        events = self._store.get_events_by_execution_ids([execution])
        keys = {event.artifact_id: event.path.steps[0].key for event in events if event.type == proto.Event.INPUT}
        return {keys[artifact.id]: artifact.uri for artifact in self._store.get_artifacts_by_id(list(keys))}


def _texts(execution: Any) -> dict[str, str]:
    properties = {**dict(execution.properties), **dict(execution.custom_properties)}
    return {
        name: value.string_value for name, value in properties.items() if value.WhichOneof("value") == "string_value"
    }
