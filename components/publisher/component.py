"""The TFX component that publishes a bundle."""

from __future__ import annotations

from typing import Union

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts

from crossrec.components.artifacts import ServingBundle
from crossrec.components.publisher.executor import Executor

Text = Union[str, data_types.RuntimeParameter]


class PublisherSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of ``Publisher``."""

    PARAMETERS = {
        "serving_root": component_spec.ExecutionParameter(type=str),
        "model_name": component_spec.ExecutionParameter(type=str),
        "release_label": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "bundle": component_spec.ChannelParameter(type=ServingBundle),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
    }
    OUTPUTS = {"published": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}


class Publisher(base_component.BaseComponent):
    """Publishes a bundle as the next version of a model if both blessings say so, and nothing else.

    A bundle that is the model's latest version already is not published again: run it as often as you like.

    The output ``published`` (``PushedModel``) carries the custom properties of TFX's Pusher: ``pushed`` is
    1 or 0, and if it is 1, ``pushed_version`` and ``pushed_destination``; and ``already_published`` is 1 if
    an earlier run had published it; ``release_label`` is what the release was called, if anything. The file
    ``published.json`` at its URI says the same.
    """

    SPEC_CLASS = PublisherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        bundle: types.BaseChannel,
        blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        serving_root: Text,
        model_name: Text,
        release_label: Text = "",
    ) -> None:
        """Declare the component.

        Args:
          bundle: Channel of ``ServingBundle``.
          blessing: Channel of ``ModelBlessing``, the evaluation's verdict.
          infra_blessing: Channel of ``InfraBlessing``, the verdict of a real server.
          serving_root: Directory that holds the model directories.
          model_name: Name that clients ask for.
          release_label: What the release is called, for people; recorded, and of no effect.
        """
        spec = PublisherSpec(
            bundle=bundle,
            blessing=blessing,
            infra_blessing=infra_blessing,
            serving_root=serving_root,
            model_name=model_name,
            release_label=release_label,
            published=types.Channel(type=standard_artifacts.PushedModel),
        )
        super().__init__(spec=spec)
