"""Release events in ML Metadata, beside the pipeline run that published the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossrec.serving.releases.errors import ReleaseError

EXECUTION_TYPE = "crossrec.Release"
_PUSHED_MODEL = "PushedModel"
_DESTINATION = "pushed_destination"


def record_event(metadata_file: Path, serving_root: Path, event: Mapping[str, Any]) -> int:
    """Write an event of the ledger as an execution; the published model that it is about is its input.

    Args:
      metadata_file: SQLite file of the pipeline's metadata.
      serving_root: The directory that holds the model directories.
      event: The event.

    Returns:
      Id of the execution.

    Raises:
      ReleaseError: If ML Metadata is not installed, or refuses.
    """
    try:
        from ml_metadata import errors, metadata_store
        from ml_metadata.proto import metadata_store_pb2 as proto
    except ImportError as error:
        raise ReleaseError(f"ml_metadata is not installed ({error}); pip install 'crossrec[pipeline]'") from error
    connection = proto.ConnectionConfig()
    connection.sqlite.filename_uri = str(metadata_file)
    connection.sqlite.connection_mode = proto.SqliteMetadataSourceConfig.READWRITE
    texts = {
        name: _text(event.get(name)) for name in ("event", "kind", "set", "by", "reason", "failure", "from", "to", "id")
    }
    try:
        store = metadata_store.MetadataStore(connection)
        kind = proto.ExecutionType(name=EXECUTION_TYPE, properties=dict.fromkeys(texts, proto.STRING))
        execution = proto.Execution(type_id=store.put_execution_type(kind, can_add_fields=True))
        execution.last_known_state = (
            proto.Execution.COMPLETE if event.get("event") == "done" else proto.Execution.FAILED
        )
        for name, text in texts.items():
            execution.properties[name].string_value = text
        (identifier,) = store.put_executions([execution])
        destinations = {str(serving_root / model / str(version)) for model, version in (event.get("to") or {}).items()}
        inputs = [
            proto.Event(artifact_id=artifact.id, execution_id=identifier, type=proto.Event.INPUT)
            for artifact in _artifacts(store, errors)
            if artifact.custom_properties[_DESTINATION].string_value in destinations
        ]
        if inputs:
            store.put_events(inputs)
    except (errors.StatusError, RuntimeError) as error:  # it opens the file with the latter
        raise ReleaseError(f"{metadata_file}: the event could not be recorded in ML Metadata: {error}") from error
    return int(identifier)


def _artifacts(store: Any, errors: Any) -> list[Any]:
    try:
        return list(store.get_artifacts_by_type(_PUSHED_MODEL))
    except errors.NotFoundError:
        return []


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{model}={version}" for model, version in sorted(value.items()))
    return "" if value is None else str(value)
