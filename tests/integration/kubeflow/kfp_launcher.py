"""What Kubeflow Pipelines does with a specification, on one machine and without a cluster.

It keeps to what KFP's driver and launcher do (backend/src/v2/driver and component/launcher_v2.go of
kubeflow/pipelines), for graphs of container tasks:

- the driver resolves parameters and artifacts by the task's inputs alone, evaluates the trigger's condition over the
  ExecutorInput, and gives every output an address below the pipeline root;
- types reach a consumer as titles, and numbers in metadata as floats, as ML Metadata keeps them;
- the launcher fills placeholders into command and arguments, downloads the inputs to the local paths of their
  addresses, makes the parents of the outputs' paths, runs the command, reads the output file and uploads;
- tasks are ordered by ``dependentTasks`` and share no disk: what is not an artifact, or on a volume, is gone.

The object store is a directory. Whatever cannot be resolved ends the run. One argument is added to each command,
``--staging_root``, so that a test need not write to ``/minio`` on the machine that it runs on.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

_TERM = re.compile(r"\(inputs\.artifacts\['(\w+)'\]\.artifacts\[0\]\.metadata\['(\w+)'\] == ([\d.]+)\)")


class UnresolvedError(LookupError):
    """A reference of the specification leads nowhere."""


class TaskFailedError(RuntimeError):
    """A container ended with another code than 0."""


@dataclass
class TaskResult:
    """What became of a task.

    Attributes:
        state: ``succeeded`` or ``skipped``.
        seconds: How long its container ran.
        artifacts: Output artifacts, as ExecutorInput holds them.
        log: What the container wrote.
    """

    state: str
    seconds: float = 0.0
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: str = ""


@dataclass(frozen=True)
class Cluster:
    """Where a run happens.

    Attributes:
        store: The directory that stands for the object store.
        work: Directory for the disks of the containers.
        pipeline_root: The cluster's own root, for specifications without one.
    """

    store: Path
    work: Path
    pipeline_root: str = "minio://mlpipeline/v2/artifacts"

    def run(self, file: Path, parameters: Mapping[str, Any] | None = None, only: int | None = None):
        """Run a compiled pipeline.

        Args:
            file: The specification.
            parameters: Parameters of the run.
            only: How many tasks to run; all if left out.

        Returns:
            The results by task.
        """
        spec = next(yaml.safe_load_all(file.read_text(encoding="utf-8")))
        values = runtime_parameters(spec, parameters or {})
        root = f"{spec.get('defaultPipelineRoot', self.pipeline_root)}/{spec['pipelineInfo']['name']}/{uuid.uuid4()}"
        results: dict[str, TaskResult] = {}
        for name, task in list(in_order(spec["root"]["dag"]["tasks"]))[:only]:
            if any(results[dependency].state == "skipped" for dependency in task.get("dependentTasks", ())):
                results[name] = TaskResult("skipped")
                continue
            component = _find(spec["components"], task["componentRef"]["name"], f"component of {name}")
            inputs = resolve_inputs(name, task, component, values, results)
            condition = task.get("triggerPolicy", {}).get("condition", "")
            if condition and not evaluate(condition, inputs):
                results[name] = TaskResult("skipped")
                continue
            executors = spec["deploymentSpec"]["executors"]
            container = _find(executors, component["executorLabel"], f"executor of {name}")["container"]
            results[name] = self._launch(name, container, inputs, provision_outputs(root, name, component))
        return results

    def local_directory(self, uri: str) -> Path:
        """Where the store keeps what an address names."""
        return self.store / uri.replace("://", "/")

    def _launch(
        self, name: str, container: Mapping[str, Any], inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> TaskResult:
        pod = self.work / f"{name}-{uuid.uuid4().hex[:8]}"
        home = pod / "home"
        home.mkdir(parents=True)
        outputs["outputFile"] = str(pod / "kfp_outputs" / "output_metadata.json")
        executor_input = {"inputs": inputs, "outputs": outputs}
        message = json_format.ParseDict(executor_input, pipeline_spec_pb2.ExecutorInput())
        placeholders = {"{{$}}": json.dumps(json_format.MessageToDict(message))}
        for artifacts in inputs["artifacts"].values():
            uri = artifacts["artifacts"][0]["uri"]
            stored = self.local_directory(uri)
            if stored.is_dir():
                copy_files(stored, pod / local_path(uri))
        for artifacts in outputs["artifacts"].values():
            (pod / local_path(artifacts["artifacts"][0]["uri"])).parent.mkdir(parents=True, exist_ok=True)
        command = [*container["command"], *(fill(argument, placeholders) for argument in container["args"])]
        started = time.monotonic()
        done = subprocess.run(
            [*command, "--staging_root", str(pod)],
            cwd=home,
            env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise TaskFailedError(f"{name} ended with {done.returncode}:\n{done.stdout[-6000:]}")
        result = TaskResult("succeeded", time.monotonic() - started, log=done.stdout)
        written = json_format.Parse(
            Path(outputs["outputFile"]).read_text(encoding="utf-8"), pipeline_spec_pb2.ExecutorOutput()
        )
        made = json_format.MessageToDict(written).get("artifacts", {})
        for key, artifacts in outputs["artifacts"].items():
            artifact = artifacts["artifacts"][0]
            merged = made.get(key, {}).get("artifacts", [{}])[0]
            artifact["uri"] = merged.get("uri", artifact["uri"])
            artifact["metadata"] = {**artifact.get("metadata", {}), **merged.get("metadata", {})}
            source = pod / local_path(artifact["uri"])
            if source.is_dir():
                copy_files(source, self.local_directory(artifact["uri"]))
            result.artifacts[key] = artifact
        shutil.rmtree(pod)
        return result


def runtime_parameters(spec: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of the run with the defaults of those that were not given."""
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name in given:
        _find(declared, name, "parameter of the pipeline")
    defaults = {name: entry["defaultValue"] for name, entry in declared.items() if "defaultValue" in entry}
    return {**defaults, **given}


def in_order(tasks: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Tasks, each after those that it depends on by its own word."""
    waiting = dict(sorted(tasks.items()))
    for task in waiting.values():
        for dependency in task.get("dependentTasks", ()):
            _find(tasks, dependency, "task that is depended on")
    while waiting:
        ready = [name for name, task in waiting.items() if not set(task.get("dependentTasks", ())) & set(waiting)]
        if not ready:
            raise UnresolvedError(f"these tasks wait for each other: {sorted(waiting)}")
        for name in ready:
            yield name, waiting.pop(name)


def resolve_inputs(
    name: str,
    task: Mapping[str, Any],
    component: Mapping[str, Any],
    values: Mapping[str, Any],
    results: Mapping[str, TaskResult],
) -> dict[str, Any]:
    """The inputs of an ExecutorInput, as the driver resolves them."""
    parameters, artifacts = {}, {}
    for key, entry in task.get("inputs", {}).get("parameters", {}).items():
        declared = _find(component["inputDefinitions"]["parameters"], key, f"parameter of {name}")
        if "componentInputParameter" in entry:
            value = _find(values, entry["componentInputParameter"], f"runtime parameter for {name}.{key}")
        elif "constant" in entry.get("runtimeValue", {}):
            value = entry["runtimeValue"]["constant"]
        else:
            raise UnresolvedError(f"{name}.{key}: {entry} is no value")
        if isinstance(value, str) != (declared["parameterType"] == "STRING"):
            raise UnresolvedError(f"{name}.{key}: {value!r} is no {declared['parameterType']}")
        parameters[key] = value
    for key, entry in task.get("inputs", {}).get("artifacts", {}).items():
        _find(component["inputDefinitions"]["artifacts"], key, f"artifact of {name}")
        source = entry["taskOutputArtifact"]
        producer = _find(results, source["producerTask"], f"finished producer of {name}.{key}")
        made = _find(producer.artifacts, source["outputArtifactKey"], f"output for {name}.{key}")
        title = yaml.safe_load(made["type"]["instanceSchema"])["title"]
        artifacts[key] = {"artifacts": [{**made, "type": {"schemaTitle": title}}]}
    return {"parameterValues": parameters, "artifacts": artifacts}


def provision_outputs(root: str, name: str, component: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of an ExecutorInput: an address for each, in a folder that only this execution has."""
    folder = f"{root}/{name}/{uuid.uuid4()}"
    declared = component.get("outputDefinitions", {}).get("artifacts", {})
    return {
        "artifacts": {
            key: {"artifacts": [{"name": key, "uri": f"{folder}/{key}", "type": entry["artifactType"]}]}
            for key, entry in declared.items()
        }
    }


def evaluate(condition: str, inputs: Mapping[str, Any]) -> bool:
    """A condition in the part of CEL that is used here: comparisons of metadata, joined by ``&&``."""
    outcome = True
    for term in condition.split(" && "):
        match = _TERM.fullmatch(term)
        if match is None:
            raise UnresolvedError(f"condition {term!r} is not understood")
        artifact = _find(inputs["artifacts"], match[1], "artifact of the condition")["artifacts"][0]
        outcome &= float(_find(artifact["metadata"], match[2], "property of the condition")) == float(match[3])
    return outcome


def fill(argument: str, placeholders: Mapping[str, str]) -> str:
    """An argument with its placeholders filled in."""
    for placeholder, value in placeholders.items():
        argument = argument.replace(placeholder, value)
    if "{{$" in argument:
        raise UnresolvedError(f"placeholder left in {argument!r}")
    return argument


def local_path(uri: str) -> str:
    """Where the launcher stages an address, relative to the container's root."""
    for scheme, folder in (("gs://", "gcs/"), ("minio://", "minio/"), ("s3://", "s3/")):
        if uri.startswith(scheme):
            return folder + uri.removeprefix(scheme)
    raise UnresolvedError(f"{uri!r}: no storage that the launcher knows")


def copy_files(source: Path, target: Path) -> None:
    """Copy files, and no empty directories: an object store knows none."""
    for folder, _, files in os.walk(source):
        for file in files:
            place = target / Path(folder).relative_to(source) / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(folder) / file, place)


def _find(names: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in names:
        raise UnresolvedError(f"{what}: {name!r} is not there, only {', '.join(sorted(names))}")
    return names[name]
