"""The parameters that a run may give, and which properties of which nodes they set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crossrec.pipeline.kubeflow.config import KubeflowConfig
from crossrec.pipeline.kubeflow.fixer import INPUTS_SPEC, tasks_of
from crossrec.pipeline.kubeflow.settings import Setting, names

DATA, ROOT = "{data}", "{root}"
"""What stands for the two directories in a graph that is compiled, wherever its nodes use them."""

_DESCRIPTIONS = {
    "data": "Directory that the spec's relative paths start from.",
    "root": "Directory on a volume for checkpoints (checkpoints/) and published models (serving/).",
    "seed": "Seed of the trainings and of the sampled negatives; empty: those of the spec.",
    "since": "First day (2025-06-01) or span of the interactions that are read; empty: as the spec's window says.",
    "until": "Last day or span that is read, of the catalogue's snapshots too; empty: the newest.",
    "release_label": "What this release is called; recorded with it.",
    "data_version": "Anything that changes when the data do; looked at where the ingestion is cached.",
}

# Property and keys inside of its JSON, by node. What is not in the graph is left out.
_SETTINGS = {
    "ItemsExampleGen": {"until": "{until}"},
    "InteractionsExampleGen": {"since": "{since}", "until": "{until}"},
    "RetrievalTrainer": {"config.training.seed": "{seed}"},
    "RankingTrainer": {"config.training.seed": "{seed}"},
    "RankingExamples": {"config.seed": "{seed}"},
    "Publisher": {"release_label": "{release_label}"},
}
_FINGERPRINT = "input_fingerprint"


@dataclass(frozen=True)
class RuntimeParameter:
    """A parameter of the pipeline, always text.

    Attributes:
        name: Its name.
        default: What it is if a run does not say.
        description: For people.
    """

    name: str
    default: str
    description: str


def runtime_parameters(config: KubeflowConfig) -> list[RuntimeParameter]:
    """All parameters of a pipeline."""
    defaults = {"data": config.data, "root": config.root}
    return [RuntimeParameter(name, defaults.get(name, ""), text) for name, text in _DESCRIPTIONS.items()]


def settings_of(node: str, properties: Mapping[str, Any]) -> list[Setting]:
    """What runtime parameters change in a node.

    Args:
        node: Its id.
        properties: Its execution properties, as constants.
    """
    found = [Setting(target, template) for target, template in _SETTINGS.get(node, {}).items()]
    for name, value in properties.items():
        if isinstance(value, str) and {DATA, ROOT} & {f"{{{parameter}}}" for parameter in names(value)}:
            found.append(Setting(name, value))
    if _FINGERPRINT in properties:
        found.append(Setting(_FINGERPRINT, f"{{data_version}}{properties[_FINGERPRINT]}"))
    return sorted(found, key=str)


def add_runtime_parameters(spec: dict[str, Any], parameters: Iterable[RuntimeParameter]) -> None:
    """Declares the parameters, and hands to each node those that change it.

    TFX writes neither defaults nor values made of a parameter and more text, so nothing of this is left to it.

    Args:
        spec: The specification; changed in place.
        parameters: All parameters of the pipeline.
    """
    declared = {
        parameter.name: {
            "parameterType": "STRING",
            "defaultValue": parameter.default,
            "isOptional": True,
            "description": parameter.description,
        }
        for parameter in parameters
    }
    spec["root"].setdefault("inputDefinitions", {}).setdefault("parameters", {}).update(declared)
    for name, task in tasks_of(spec).items():
        given = task.setdefault("inputs", {}).setdefault("parameters", {})
        constants = {key: entry["runtimeValue"]["constant"] for key, entry in given.items() if "runtimeValue" in entry}
        settings = []
        for setting in settings_of(name, constants):
            if setting.target in given and setting.template == f"{{{setting.parameters[0]}}}":
                # The parameter as it is: KFP can do that itself.
                given[setting.target] = {"componentInputParameter": setting.parameters[0]}
            else:
                settings.append(setting)
        component = spec["components"][task["componentRef"]["name"]]
        inputs = component.setdefault("inputDefinitions", {}).setdefault("parameters", {})
        taken = sorted({parameter for setting in settings for parameter in setting.parameters})
        for parameter in taken:
            if parameter in inputs:
                raise ValueError(f"{name}: its property {parameter!r} is called as a runtime parameter. Rename it")
            inputs[parameter] = {"parameterType": "STRING"}
            given[parameter] = {"componentInputParameter": parameter}
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        arguments = container["args"]
        place = arguments.index(INPUTS_SPEC) + 1
        arguments[place] = json.dumps(component["inputDefinitions"], sort_keys=True)
        arguments[place + 1 : place + 1] = [part for setting in settings for part in ("--set", str(setting))]
