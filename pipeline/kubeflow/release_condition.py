"""When the release step runs: only if every verdict on the bundle is a blessing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

BLESSINGS = ("tfx.ModelBlessing", "tfx.InfraBlessing")
_REFERENCE = re.compile(r"inputs\.(artifacts|parameter_values|parameters)\['([^']*)'\]")


def title(definition: Mapping[str, Any]) -> str:
    """The type of an artifact, from its definition in a component."""
    kind = definition["artifactType"]
    if "schemaTitle" in kind:
        return str(kind["schemaTitle"])
    return str((yaml.safe_load(kind.get("instanceSchema", "")) or {}).get("title", ""))


def blessed(component: Mapping[str, Any]) -> str:
    """A condition in CEL: all blessings among the inputs of a component say 1.

    KFP evaluates it over the task's ``ExecutorInput`` (backend/src/v2/expression); numbers are floats there. An
    artifact without the property makes the run fail, as a verdict that was not given should.

    Args:
        component: A component of the specification.

    Returns:
        The condition, "" if no input is a blessing.
    """
    artifacts = component.get("inputDefinitions", {}).get("artifacts", {})
    verdicts = [name for name, definition in sorted(artifacts.items()) if title(definition) in BLESSINGS]
    return " && ".join(f"(inputs.artifacts['{name}'].artifacts[0].metadata['blessed'] == 1.0)" for name in verdicts)


def references(condition: str) -> list[tuple[str, str]]:
    """The inputs that a condition looks at, as (kind, name): kind ``artifacts`` or ``parameters``."""
    return [
        ("artifacts" if kind == "artifacts" else "parameters", name) for kind, name in _REFERENCE.findall(condition)
    ]
