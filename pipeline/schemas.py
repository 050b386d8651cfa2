"""Schemas that the user wrote, looked at before anything runs."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.io import fileio

from crossrec.components.errors import DataError
from crossrec.pipeline.spec.spec import Spec

_MEND = "Give a file with a tensorflow.metadata.v0.Schema as text, or leave the field out to have it inferred."


def schema_path(path: str, data_dir: str) -> str:
    """Where a schema of the spec lies."""
    return str(Path(data_dir, path)) if "://" not in path else path


def check_schemas(spec: Spec, data_dir: str) -> None:
    """Read the schemas that the spec names.

    Args:
        spec: The spec.
        data_dir: The directory that relative paths start from.

    Raises:
        DataError: One is not there, or is no schema.
    """
    for field, path in spec.validation:
        if path:
            _check(f"validation.{field}", schema_path(path, data_dir))


def _check(field: str, path: str) -> None:
    if not fileio.exists(path) or fileio.isdir(path):
        raise DataError(field, f"{path!r} is no file", _MEND)
    try:
        with fileio.open(path, "r") as file:
            schema = text_format.Parse(file.read(), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise DataError(field, f"{path!r} is no schema: {error}", _MEND) from error
    if not schema.feature:
        raise DataError(field, f"{path!r} describes no feature", _MEND)
