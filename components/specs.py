"""One way to declare a component: a table of its inputs, outputs and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.types.component_spec import ChannelParameter, ExecutionParameter


def make_spec(
    name: str,
    inputs: Mapping[str, type[types.Artifact]],
    outputs: Mapping[str, type[types.Artifact]],
    parameters: Mapping[str, type],
    optional: tuple[str, ...] = (),
) -> type[types.ComponentSpec]:
    """A ComponentSpec class.

    Args:
        name: Name of the class.
        inputs: Artifact type of each input channel.
        outputs: Artifact type of each output channel.
        parameters: Type of each execution property.
        optional: Inputs that may be left out.
    """
    body: dict[str, Any] = {
        "PARAMETERS": {key: ExecutionParameter(type=kind) for key, kind in parameters.items()},
        "INPUTS": {key: ChannelParameter(type=kind, optional=key in optional) for key, kind in inputs.items()},
        "OUTPUTS": {key: ChannelParameter(type=kind) for key, kind in outputs.items()},
        "__doc__": f"Inputs, outputs and parameters of {name.removesuffix('Spec')}.",
    }
    spec: type[types.ComponentSpec] = type(name, (types.ComponentSpec,), body)
    return spec


def output_channels(spec: type[types.ComponentSpec]) -> dict[str, types.Channel]:
    """A fresh channel for each output of the specification."""
    return {name: types.Channel(type=parameter.type) for name, parameter in spec.OUTPUTS.items()}
