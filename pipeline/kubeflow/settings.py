"""How runtime parameters of a run reach the execution properties of its nodes.

The graph is the same on every runner, so it knows no runtime parameters. On Kubeflow each node that depends on some
takes them as inputs, and an argument of its container, ``--set PROPERTY=TEMPLATE``, says what they change:
``--set serving_root={root}/serving`` or, inside of a property that is JSON, ``--set config.training.seed={seed}``.
A parameter that is empty changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"\{([a-z_]+)\}")


class SettingError(ValueError):
    """A runtime parameter that does not fit what it sets."""


@dataclass(frozen=True)
class Setting:
    """One property of one node that runtime parameters change.

    Attributes:
        target: The execution property, and the keys inside of its JSON, joined by dots.
        template: Its value, with parameters in braces.
    """

    target: str
    template: str

    @classmethod
    def parse(cls, text: str) -> Setting:
        """Reads ``TARGET=TEMPLATE``.

        Raises:
            SettingError: It is something else.
        """
        target, separator, template = text.partition("=")
        if not (target and separator and names(template)):
            raise SettingError(f"--set: {text!r} is not PROPERTY=TEMPLATE with a parameter in braces")
        return cls(target, template)

    @property
    def property_name(self) -> str:
        """The execution property."""
        return self.target.partition(".")[0]

    @property
    def parameters(self) -> list[str]:
        """The parameters that it takes."""
        return names(self.template)

    def __str__(self) -> str:
        return f"{self.target}={self.template}"

    def apply(self, properties: dict[str, Any], parameters: Mapping[str, Any]) -> None:
        """Changes the property, unless a parameter is empty.

        Args:
            properties: Execution properties by name; changed in place.
            parameters: Runtime parameters by name.

        Raises:
            SettingError: There is no such property, or the value does not fit it.
        """
        if any(parameters[name] == "" for name in self.parameters):
            return
        value = _NAME.sub(lambda match: str(parameters[match[1]]), self.template)
        _, _, inner = self.target.partition(".")
        if self.property_name not in properties:
            raise SettingError(
                f"--set {self}: there is no property {self.property_name!r}, only {', '.join(properties)}"
            )
        if not inner:
            properties[self.property_name] = value
            return
        content = json.loads(properties[self.property_name])
        *parents, last = inner.split(".")
        place = content
        for key in parents:
            place = place.get(key, {})
        if last not in place:
            raise SettingError(f"--set {self}: {self.property_name} holds nothing at {inner!r}")
        place[last] = _like(place[last], value, self)
        properties[self.property_name] = json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def names(template: str) -> list[str]:
    """The parameters in a template."""
    return list(dict.fromkeys(_NAME.findall(template)))


def _like(before: Any, value: str, setting: Setting) -> Any:
    if not isinstance(before, int):
        return value
    try:
        return int(value)
    except ValueError:
        parameter = ", ".join(setting.parameters)
        raise SettingError(f"{parameter}: {value!r} is no whole number, as {setting.target} must be") from None
