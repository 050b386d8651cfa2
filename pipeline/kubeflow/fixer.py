"""Mends of what TFX writes for Vertex AI, so that stock Kubeflow Pipelines can run it.

Each function takes the specification as nested dictionaries (camel case, as in the file) and changes it in place.
What cannot be mended is refused by `crossrec.pipeline.kubeflow.validator`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from crossrec.pipeline.kubeflow.release_condition import references

INPUTS_SPEC = "--json_serialized_inputs_spec_args"
"""The argument before what the component declares."""

_TASK_SUFFIX = "_task"
# TFX's name for a channel that only a condition uses: "_<producer>.<output>".
_IMPLICIT = re.compile(r"_(?P<producer>.+)\.(?P<output>[^.]+)")


def tasks_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The tasks of the root graph by name."""
    tasks: dict[str, Any] = spec["root"]["dag"]["tasks"]
    return tasks


def fix(spec: dict[str, Any]) -> None:
    """All mends that need nothing but the specification."""
    for executor in spec["deploymentSpec"]["executors"].values():
        cut_beam_options(executor.get("container", {}))
    for task in tasks_of(spec).values():
        strip_task_suffix(task, tasks_of(spec))
        mend_condition(task)
        complete_dependencies(task)


def cut_beam_options(container: dict[str, Any]) -> None:
    """The pipeline's options of Beam go to every node, whether it runs Beam or not: they end all arguments."""
    arguments = container.get("args", [])
    if INPUTS_SPEC in arguments:
        del arguments[arguments.index(INPUTS_SPEC) + 2 :]


def strip_task_suffix(task: dict[str, Any], tasks: Mapping[str, Any]) -> None:
    """A property that is another node's output names its producer ``X_task``, and the task is ``X``."""
    for parameter in task.get("inputs", {}).get("parameters", {}).values():
        source = parameter.get("taskOutputParameter", {})
        producer = source.get("producerTask", "")
        bare = producer.removesuffix(_TASK_SUFFIX)
        if producer not in tasks and bare in tasks:
            source["producerTask"] = bare


def mend_condition(task: dict[str, Any]) -> None:
    """A condition on a channel that is an input too names it ``_Producer.output``, and the input has another key."""
    policy = task.get("triggerPolicy", {})
    artifacts = task.get("inputs", {}).get("artifacts", {})
    for kind, name in references(policy.get("condition", "")):
        implicit = _IMPLICIT.fullmatch(name)
        if kind != "artifacts" or name in artifacts or not implicit:
            continue
        wanted = {"producerTask": implicit["producer"], "outputArtifactKey": implicit["output"]}
        keys = [key for key, artifact in sorted(artifacts.items()) if artifact.get("taskOutputArtifact") == wanted]
        if keys:
            policy["condition"] = policy["condition"].replace(f"artifacts['{name}']", f"artifacts['{keys[0]}']")


def complete_dependencies(task: dict[str, Any]) -> None:
    """KFP orders tasks by ``dependentTasks`` alone: every producer must stand there, in an order that never changes."""
    inputs = task.get("inputs", {})
    producers = {
        source["producerTask"]
        for group, kind in (("artifacts", "taskOutputArtifact"), ("parameters", "taskOutputParameter"))
        for source in (entry.get(kind) for entry in inputs.get(group, {}).values())
        if source
    }
    dependencies = sorted(producers.union(task.get("dependentTasks", ())))
    if dependencies:
        task["dependentTasks"] = dependencies
