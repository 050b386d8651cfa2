"""Whether a KFP specification hangs together: every reference in it must lead somewhere.

KFP's SDK loads a file with dangling references, and its backend finds them when the task is due, hours later.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from crossrec.pipeline.kubeflow.fixer import INPUTS_SPEC
from crossrec.pipeline.kubeflow.release_condition import references, title
from crossrec.pipeline.kubeflow.settings import Setting, SettingError

_PLACEHOLDER = re.compile(r"\{\{\$(.*?)\}\}")
_INPUT_PLACEHOLDER = re.compile(r"\.inputs\.(artifacts|parameters)\['([^']*)'\].*")
_UNUSABLE = {
    "resolver": "is a resolver, which KFP does not implement. Look artifacts up in a component",
    "importer": "is an importer, whose type KFP does not hand on. Read the file in a component",
}


class SpecificationError(ValueError):
    """A specification that KFP could not run; one line per problem.

    Attributes:
        problems: The lines: task, key, and what there is.
    """

    def __init__(self, problems: Iterable[str]):
        """Builds the error from the problems."""
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def validate(spec: Mapping[str, Any], platform: Mapping[str, Any] | None = None) -> None:
    """Checks every reference of a specification.

    Args:
        spec: The specification, as in the file's first document.
        platform: The second document, if there is one.

    Raises:
        SpecificationError: With all problems.
    """
    problems = [*_tasks(spec), *_platform(spec, platform or {})]
    if problems:
        raise SpecificationError(problems)


def _known(names: Iterable[str]) -> str:
    return f"There is: {', '.join(sorted(names)) or 'nothing'}"


def _section(holder: Mapping[str, Any], definitions: str, kind: str) -> dict[str, Any]:
    return dict(holder.get(definitions, {}).get(kind, {}))


def _tasks(spec: Mapping[str, Any]) -> Iterable[str]:
    tasks, components = spec["root"]["dag"]["tasks"], spec.get("components", {})
    sound = {}
    for name, task in sorted(tasks.items()):
        reference = task.get("componentRef", {}).get("name", "")
        if reference not in components:
            yield f"{name}: component {reference!r} is not defined. {_known(components)}"
        else:
            sound[name] = components[reference]
    for name, component in sound.items():
        task = tasks[name]
        for dependency in task.get("dependentTasks", ()):
            if dependency not in tasks:
                yield f"{name}: depends on {dependency!r}, which is no task. {_known(tasks)}"
        yield from _executor(spec, name, component)
        yield from _artifacts(name, task, component, sound)
        yield from _parameters(name, task, component, sound, _section(spec["root"], "inputDefinitions", "parameters"))
        yield from _condition(name, task)
        yield from _arguments(spec, name, task, component)
        for key, definition in _section(component, "outputDefinitions", "parameters").items():
            if definition.get("parameterType") == "NUMBER_DOUBLE":
                yield f"{name}: output parameter {key!r} is a float, which TFX cannot write. Use STRING"
    yield from _cycle(tasks)


def _executor(spec: Mapping[str, Any], name: str, component: Mapping[str, Any]) -> Iterable[str]:
    executors = spec.get("deploymentSpec", {}).get("executors", {})
    label = component.get("executorLabel", "")
    if label not in executors:
        yield f"{name}: executor {label!r} is not defined. {_known(executors)}"
        return
    for kind, reason in _UNUSABLE.items():
        if kind in executors[label]:
            yield f"{name}: {reason}"
    container = executors[label].get("container", {})
    if "container" in executors[label] and not container.get("image"):
        yield f"{name}: executor {label!r} has no image"
    if "lifecycle" in container:
        yield f"{name}: has a driver, which KFP never runs. Do its work in the executor"


def _artifacts(
    name: str, task: Mapping[str, Any], component: Mapping[str, Any], components: Mapping[str, Any]
) -> Iterable[str]:
    declared = _section(component, "inputDefinitions", "artifacts")
    given = _section(task, "inputs", "artifacts")
    for key in sorted(set(declared) - set(given)):
        if not declared[key].get("isOptional"):
            yield f"{name}: input artifact {key!r} is not given. {_known(given)}"
    for key, entry in sorted(given.items()):
        if key not in declared:
            yield f"{name}: input artifact {key!r} is not declared by its component. {_known(declared)}"
            continue
        source = entry.get("taskOutputArtifact")
        if source is None:
            yield f"{name}: input artifact {key!r} comes from no task. Name producerTask and outputArtifactKey"
            continue
        outputs = yield from _producer(name, f"input artifact {key!r}", task, source, components)
        if outputs is None:
            continue
        output = source.get("outputArtifactKey", "")
        made = _section(components[source["producerTask"]], "outputDefinitions", "artifacts")
        if output not in made:
            producer = source["producerTask"]
            yield f"{name}: input artifact {key!r} wants {output!r} of {producer}, no output. {_known(made)}"
        elif title(made[output]) != title(declared[key]):
            yield (
                f"{name}: input artifact {key!r} is of type {title(declared[key])}, and {source['producerTask']}'s "
                f"{output!r} is of type {title(made[output])}"
            )
    for definition in (declared, _section(component, "outputDefinitions", "artifacts")):
        for key, entry in sorted(definition.items()):
            if not _importable(title(entry)):
                yield f"{name}: the type {title(entry)!r} of artifact {key!r} is no class that can be imported"


def _producer(
    name: str, what: str, task: Mapping[str, Any], source: Mapping[str, Any], components: Mapping[str, Any]
) -> Any:
    """Problems of the task that an input comes from; its component, if there is one, as the generator's value."""
    producer = source.get("producerTask", "")
    if producer not in components:
        yield f"{name}: {what} comes from {producer!r}, which is no task. {_known(components)}"
        return None
    if producer not in task.get("dependentTasks", ()):
        yield f"{name}: {what} comes from {producer}, which dependentTasks leaves out. KFP would not wait for it"
    return components[producer]


def _parameters(
    name: str,
    task: Mapping[str, Any],
    component: Mapping[str, Any],
    components: Mapping[str, Any],
    runtime: Mapping[str, Any],
) -> Iterable[str]:
    declared = _section(component, "inputDefinitions", "parameters")
    given = _section(task, "inputs", "parameters")
    for key in sorted(set(declared) - set(given)):
        if not declared[key].get("isOptional"):
            yield f"{name}: parameter {key!r} is not given. {_known(given)}"
    for key, entry in sorted(given.items()):
        what = f"parameter {key!r}"
        if key not in declared:
            yield f"{name}: {what} is not declared by its component. {_known(declared)}"
            continue
        kind = declared[key].get("parameterType")
        if "componentInputParameter" in entry:
            wanted = entry["componentInputParameter"]
            if wanted not in runtime:
                yield f"{name}: {what} is the runtime parameter {wanted!r}, which is not defined. {_known(runtime)}"
            elif runtime[wanted].get("parameterType") != kind:
                yield f"{name}: {what} is {kind}, runtime parameter {wanted!r} {runtime[wanted].get('parameterType')}"
        elif "taskOutputParameter" in entry:
            source = entry["taskOutputParameter"]
            producer = yield from _producer(name, what, task, source, components)
            made = _section(producer, "outputDefinitions", "parameters") if producer is not None else {}
            output = source.get("outputParameterKey", "")
            if producer is not None and output not in made:
                yield f"{name}: {what} wants {output!r} of {source['producerTask']}, no output. {_known(made)}"
        elif "constant" not in entry.get("runtimeValue", {}):
            yield f"{name}: {what} has no value: neither a constant nor a reference"
        elif _PLACEHOLDER.search(str(entry["runtimeValue"]["constant"])):
            yield f"{name}: {what} holds a placeholder, which the launcher would replace in the executor's input"


def _condition(name: str, task: Mapping[str, Any]) -> Iterable[str]:
    for kind, key in references(task.get("triggerPolicy", {}).get("condition", "")):
        given = _section(task, "inputs", kind)
        if key not in given:
            yield f"{name}: its condition looks at {kind} {key!r}, which is no input of it. {_known(given)}"


def _arguments(
    spec: Mapping[str, Any], name: str, task: Mapping[str, Any], component: Mapping[str, Any]
) -> Iterable[str]:
    executor = spec.get("deploymentSpec", {}).get("executors", {}).get(component.get("executorLabel", ""), {})
    arguments = list(executor.get("container", {}).get("args", ()))
    given = _section(task, "inputs", "parameters")
    for text in arguments:
        for placeholder in _PLACEHOLDER.findall(text):
            match = _INPUT_PLACEHOLDER.fullmatch(placeholder)
            if match and match[2] not in _section(task, "inputs", match[1]):
                there = _known(_section(task, "inputs", match[1]))
                yield f"{name}: its command looks at {match[1]} {match[2]!r}, which is no input of it. {there}"
    for flag, value in zip(arguments, arguments[1:]):
        if flag == INPUTS_SPEC and json.loads(value) != component.get("inputDefinitions", {}):
            yield f"{name}: {INPUTS_SPEC} is not what the component declares. Compile again"
        elif flag == "--set":
            try:
                setting = Setting.parse(value)
            except SettingError as error:
                yield f"{name}: {error}"
                continue
            for key in (setting.property_name, *setting.parameters):
                if key not in given:
                    yield f"{name}: --set {value} looks at parameter {key!r}, which is no input of it. {_known(given)}"


def _cycle(tasks: Mapping[str, Any]) -> Iterable[str]:
    waiting = {name: set(task.get("dependentTasks", ())) & set(tasks) for name, task in tasks.items()}
    while waiting:
        ready = [name for name, dependencies in waiting.items() if not dependencies & set(waiting)]
        if not ready:
            yield f"these tasks wait for each other: {', '.join(sorted(waiting))}"
            return
        for name in ready:
            del waiting[name]


def _platform(spec: Mapping[str, Any], platform: Mapping[str, Any]) -> Iterable[str]:
    executors: Collection[str] = spec.get("deploymentSpec", {}).get("executors", {})
    for kind, content in sorted(platform.get("platforms", {}).items()):
        for label in sorted(content.get("deploymentSpec", {}).get("executors", {})):
            if label not in executors:
                yield f"platforms.{kind}: executor {label!r} is not defined. {_known(executors)}"


def _importable(name: str) -> bool:
    """TFX's entry point imports the class that a type's title names; its own are known to it as ``tfx.Name``."""
    module, _, kind = name.rpartition(".")
    if module == "tfx":
        return True
    try:
        # Not hasattr: crossrec's own types are there lazily, and the first use of one imports TFX.
        return bool(module) and kind in dir(importlib.import_module(module))
    except ImportError:
        return False
