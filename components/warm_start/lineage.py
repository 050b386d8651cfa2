"""From the artifacts of a run to the record of its release: what passes along as custom properties."""

from __future__ import annotations

from typing import Any

from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.warm_start.records import OF_TEXTS, PARTS, ReleaseRecord


def record_parts(bundle: Any, inputs: properties.Artifacts, interactions: Any) -> None:
    """Writes into a bundle's artifact what the bundle was made of.

    Args:
        bundle: The bundle.
        inputs: The artifacts that it was made of, by name.
        interactions: The examples that those were made of.
    """
    for name in (*PARTS, *(name for name in OF_TEXTS if inputs.get(name))):
        bundle.set_string_custom_property(name, properties.uri(inputs, name))
    bundle.set_string_custom_property(
        properties.INPUT_FINGERPRINT, interactions.get_string_custom_property(properties.INPUT_FINGERPRINT)
    )
    bundle.set_int_custom_property(
        properties.TRAINED_UNTIL, interactions.get_int_custom_property(properties.TRAINED_UNTIL)
    )
    table = artifact_utils.get_single_instance(inputs["item_table"])
    if table.has_custom_property(properties.MODELS_FROM):
        bundle.set_int_custom_property(properties.MODELS_FROM, table.get_int_custom_property(properties.MODELS_FROM))
        bundle.set_string_custom_property(properties.CATALOGUE, table.get_string_custom_property(properties.CATALOGUE))


def record_of(bundle: Any, version: int) -> ReleaseRecord | None:
    """The record of a release.

    Args:
        bundle: The bundle that was released.
        version: Its number.

    Returns:
        The record; None where the bundle does not say what it was made of.
    """
    artifacts = {name: str(bundle.get_string_custom_property(name)) for name in PARTS}
    if not all(artifacts.values()):
        return None
    artifacts |= {
        name: str(bundle.get_string_custom_property(name)) for name in OF_TEXTS if bundle.has_custom_property(name)
    }
    return ReleaseRecord(
        version=version,
        fingerprint=str(bundle.get_string_custom_property(properties.INPUT_FINGERPRINT)),
        trained_until=int(bundle.get_int_custom_property(properties.TRAINED_UNTIL)),
        artifacts=artifacts,
        models_from=int(bundle.get_int_custom_property(properties.MODELS_FROM)),
        catalogue=str(bundle.get_string_custom_property(properties.CATALOGUE)),
    )
