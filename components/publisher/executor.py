"""Reads the blessings, publishes the bundle, and records where it went."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from crossrec.components.blessing import blessing_message, is_blessed
from crossrec.components.publisher.current import current_release
from crossrec.serving.releases.publish import publish

_BLESSINGS = ("blessing", "infra_blessing")
RECORD_FILE = "published.json"
ALREADY_PUBLISHED = "already_published"
_log = logging.getLogger(__name__)


class Executor(base_executor.BaseExecutor):
    """Executor of ``Publisher``."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Publish the bundle if every blessing given says so, unless servers load it already.

        Args:
          input_dict: ``bundle``, ``blessing`` and perhaps ``infra_blessing``.
          output_dict: ``published``.
          exec_properties: ``serving_root`` and ``model_name``.

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
        place = (exec_properties["serving_root"], exec_properties["model_name"])
        current = current_release(bundle.uri, *place)
        version = current or publish(bundle.uri, *place)
        _log.info("Publisher: version %d of %s is at %s", version.version, bundle.uri, version.path)
        _record(
            published,
            {
                "pushed": 1,
                "pushed_version": str(version.version),
                "pushed_destination": str(version.path),
                **({ALREADY_PUBLISHED: 1} if current else {}),
            },
        )


def _refusals(input_dict: dict[str, list[Any]]) -> list[str]:
    refusals = []
    for name in _BLESSINGS:
        if name == "infra_blessing" and not input_dict.get(name):
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
    directory = Path(artifact.uri)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / RECORD_FILE).write_text(json.dumps(properties) + "\n", encoding="utf-8")
