"""Reads the blessings, publishes the bundle, and records where it went."""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from crossrec.components.blessing import blessing_message, is_blessed
from crossrec.components.publisher.current import current_release
from crossrec.components.warm_start.lineage import record_of
from crossrec.components.warm_start.records import write_record
from crossrec.serving.releases.publish import publish

_BLESSINGS = ("blessing", "infra_blessing")
RECORD_FILE = "published.json"
ALREADY_PUBLISHED = "already_published"
RELEASE_LABEL = "release_label"
_log = logging.getLogger(__name__)


class Executor(base_executor.BaseExecutor):
    """Executor of ``Publisher``."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Publish the bundle if both blessings say so, unless servers load it already.

        Args:
          input_dict: ``bundle``, ``blessing`` and ``infra_blessing``.
          output_dict: ``published``.
          exec_properties: ``serving_root``, ``model_name`` and perhaps ``release_label``.

        Raises:
          ReleaseError: If the bundle is blessed but cannot be published.
        """
        bundle = artifact_utils.get_single_instance(input_dict["bundle"])
        published = artifact_utils.get_single_instance(output_dict["published"])
        refusals = _refusals(input_dict)
        if refusals:
            _log.warning("Publisher: %s is not published: %s", bundle.uri, "; ".join(refusals))
            _record(published, {"pushed": 0})
            return
        label = exec_properties.get(RELEASE_LABEL)
        place = (exec_properties["serving_root"], exec_properties["model_name"])
        with _on_this_machine(bundle.uri) as directory:
            current = current_release(directory, *place)
            version = current or publish(directory, *place)
        _log.info("Publisher: version %d of %s is at %s", version.version, bundle.uri, version.path)
        record = record_of(bundle, version.version)
        if record is not None:
            write_record(record, *place)
        _record(
            published,
            {
                "pushed": 1,
                "pushed_version": str(version.version),
                "pushed_destination": str(version.path),
                **({ALREADY_PUBLISHED: 1} if current else {}),
                **({RELEASE_LABEL: label} if label else {}),
            },
        )


@contextlib.contextmanager
def _on_this_machine(uri: str) -> Iterator[str]:
    """The directory itself, or a copy for the time of the block if it lies in an object store."""
    if "://" not in uri:
        yield uri
        return
    with tempfile.TemporaryDirectory(prefix="crossrec-publisher-") as folder:
        io_utils.copy_dir(uri, folder)
        yield folder


def _refusals(input_dict: dict[str, list[Any]]) -> list[str]:
    refusals = []
    for name in _BLESSINGS:
        if not input_dict.get(name):
            refusals.append(f"there is no {name}")
            continue
        artifact = artifact_utils.get_single_instance(input_dict[name])
        if not is_blessed(artifact):
            reason = blessing_message(artifact)
            refusals.append(f"{name} {artifact.uri} says no" + (f" ({reason})" if reason else ""))
    return refusals


def _record(artifact: Any, properties: dict[str, Any]) -> None:
    """Write the properties that TFX's Pusher writes, and a file for those who have the directory only."""
    for key, value in properties.items():
        if isinstance(value, int):
            artifact.set_int_custom_property(key, value)
        else:
            artifact.set_string_custom_property(key, value)
    fileio.makedirs(artifact.uri)
    with fileio.open(f"{artifact.uri}/{RECORD_FILE}", "w") as file:
        file.write(json.dumps(properties) + "\n")
