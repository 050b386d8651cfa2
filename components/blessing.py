"""Blessings: how a check says that a bundle may be released, written and read as TFX's own components do."""

from __future__ import annotations

from typing import Any

from tfx.dsl.io import fileio

_BLESSED = "blessed"
_MESSAGE = "blessing_message"
INFRA_NOT_BLESSED = "INFRA_NOT_BLESSED"
_FILES = {
    "ModelBlessing": {True: "BLESSED", False: "NOT_BLESSED"},
    "InfraBlessing": {True: "INFRA_BLESSED", False: INFRA_NOT_BLESSED},
}


def write_blessing(artifact: Any, blessed: bool, message: str = "") -> None:
    """Write a verdict into a blessing artifact.

    As TFX's Evaluator and InfraValidator do: the custom property ``blessed`` is 1 or 0, and an empty file ``BLESSED``
    or ``NOT_BLESSED`` (``INFRA_BLESSED``, ``INFRA_NOT_BLESSED``) lies at the artifact's URI.

    Args:
      artifact: A ``ModelBlessing`` or ``InfraBlessing``.
      blessed: The verdict.
      message: Why, for people; kept as the custom property ``blessing_message``.
    """
    files = _FILES[artifact.type_name]
    fileio.makedirs(artifact.uri)
    # A retried execution may find the verdict of its predecessor.
    former = f"{artifact.uri}/{files[not blessed]}"
    if fileio.exists(former):
        fileio.remove(former)
    with fileio.open(f"{artifact.uri}/{files[blessed]}", "w") as file:
        file.write("")
    artifact.set_int_custom_property(_BLESSED, int(blessed))
    if message:
        artifact.set_string_custom_property(_MESSAGE, message)


def is_blessed(artifact: Any) -> bool:
    """Read the verdict of a blessing artifact.

    Args:
      artifact: A ``ModelBlessing`` or ``InfraBlessing``, of this project's components or of TFX's.

    Returns:
      True only for an explicit blessing: an artifact without a verdict is not blessed.
    """
    return bool(artifact.get_int_custom_property(_BLESSED) == 1)


def blessing_message(artifact: Any) -> str:
    """Read why an artifact was blessed or not.

    Args:
      artifact: A ``ModelBlessing`` or ``InfraBlessing``.

    Returns:
      The message, "" if none was written.
    """
    return str(artifact.get_string_custom_property(_MESSAGE))
