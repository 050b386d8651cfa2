"""What the container of a node runs: TFX's executor entry point, with KFP's addresses and parameters made usable.

``python -m crossrec.pipeline.kubeflow.entry``, with the arguments of TFX's own entry point and those of `_parse`.
TFX's executors open an artifact's address as it stands, and know no runtime parameters beside execution
properties; see `crossrec.pipeline.kubeflow.locations` and `crossrec.pipeline.kubeflow.settings`.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags, logging
from google.protobuf import json_format, struct_pb2
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.io import fileio
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

from crossrec.pipeline.digest import code_digest
from crossrec.pipeline.kubeflow.locations import Staging
from crossrec.pipeline.kubeflow.settings import Setting, SettingError

CODE_DIGEST = "code_digest"


def main(arguments: Sequence[str]) -> int:
    """Runs one node.

    Args:
        arguments: The container's arguments, placeholders filled in.

    Returns:
        Exit code: 0 well, 2 if a runtime parameter does not fit. What the executor raises goes through.
    """
    options, beam_options = _parse(arguments)
    executor_input = pipeline_spec_pb2.ExecutorInput()
    json_format.Parse(options.json_serialized_invocation_args, executor_input, ignore_unknown_fields=True)
    inputs_spec = pipeline_spec_pb2.ComponentInputsSpec()
    json_format.Parse(options.json_serialized_inputs_spec_args, inputs_spec, ignore_unknown_fields=True)
    try:
        apply_settings(executor_input.inputs.parameter_values, [Setting.parse(text) for text in options.set])
    except SettingError as error:
        print(error, file=sys.stderr)
        return 2
    _compare_code(executor_input.inputs.parameter_values, options.executor_class_path)
    staging = Staging(options.staging_root, options.artifact_volume, options.remote)
    addresses = localise(executor_input, inputs_spec, staging)
    _prepare_outputs(executor_input.outputs, staging)
    output_file = executor_input.outputs.output_file
    if options.remote:
        # Temporary files lie beside the output file, and remote workers must reach them.
        executor_input.outputs.output_file = _beside_artifacts(executor_input.outputs)
    # TFX's own entry point reads these as absl flags; executors may look at absl's flags too.
    flags.FLAGS.mark_as_parsed()
    kubeflow_v2_run_executor.main(
        (
            argparse.Namespace(
                executor_class_path=options.executor_class_path,
                json_serialized_invocation_args=json_format.MessageToJson(executor_input),
                json_serialized_inputs_spec_args=options.json_serialized_inputs_spec_args,
            ),
            beam_options,
        )
    )
    _hand_over(executor_input.outputs.output_file, output_file, addresses)
    return 0


def apply_settings(parameters: Any, settings: Sequence[Setting]) -> None:
    """Changes the execution properties as the runtime parameters say, and takes these out.

    Args:
        parameters: The map of ``parameter_values`` in the executor's input; changed in place.
        settings: What they change.

    Raises:
        SettingError: A parameter is missing or does not fit.
    """
    given = {name: getattr(value, value.WhichOneof("kind")) for name, value in parameters.items()}
    taken = {name for setting in settings for name in setting.parameters}
    missing = sorted(taken - set(given))
    if missing:
        raise SettingError(f"--set: parameter {missing[0]!r} is not given, only {', '.join(sorted(given))}")
    properties = {name: value for name, value in given.items() if name not in taken}
    for setting in settings:
        setting.apply(properties, given)
    for name in taken:
        del parameters[name]
    for name, value in properties.items():
        if value != given[name]:
            parameters[name].CopyFrom(struct_pb2.Value(string_value=value))


def localise(executor_input: Any, inputs_spec: Any, staging: Staging) -> dict[str, str]:
    """Turns the addresses of all artifacts into paths.

    Args:
        executor_input: KFP's ``ExecutorInput``; changed in place.
        inputs_spec: What the component declares; an input's type is taken from there, since not every version of
            KFP hands on types that it does not know.
        staging: How addresses become paths.

    Returns:
        Address by path.
    """
    addresses = {}
    for name, artifacts in executor_input.inputs.artifacts.items():
        for artifact in artifacts.artifacts:
            artifact.type.CopyFrom(inputs_spec.artifacts[name].artifact_type)
    for group in (executor_input.inputs.artifacts, executor_input.outputs.artifacts):
        for artifacts in group.values():
            for artifact in artifacts.artifacts:
                path = staging.path(artifact.uri)
                addresses[path] = artifact.uri
                artifact.uri = path
    return addresses


def _prepare_outputs(outputs: Any, staging: Staging) -> None:
    """Empty directories for the outputs: a try before this one may have left half of them on a volume."""
    for artifacts in outputs.artifacts.values():
        for artifact in artifacts.artifacts:
            if fileio.exists(artifact.uri):
                fileio.rmtree(artifact.uri)
            if not staging.remote:
                os.makedirs(artifact.uri)


def _beside_artifacts(outputs: Any) -> str:
    first = next(artifact for artifacts in outputs.artifacts.values() for artifact in artifacts.artifacts)
    path = posixpath.join(posixpath.dirname(first.uri.rstrip("/")), "executor", "output.json")
    if fileio.exists(path):
        fileio.remove(path)
    return path


def _hand_over(written: str, output_file: str, addresses: Mapping[str, str]) -> None:
    """Gives the launcher the executor's output, with the addresses that it knows."""
    output = pipeline_spec_pb2.ExecutorOutput()
    with fileio.open(written, "r") as file:
        json_format.Parse(file.read(), output, ignore_unknown_fields=True)
    for artifacts in output.artifacts.values():
        for artifact in artifacts.artifacts:
            artifact.uri = addresses[artifact.uri]
    os.makedirs(os.path.dirname(output_file), exist_ok=True)
    with open(output_file, "w", encoding="utf-8") as file:
        file.write(json_format.MessageToJson(output))


def _compare_code(parameters: Any, class_path: str) -> None:
    """Says so if the image holds other code than the specification was compiled from."""
    compiled = parameters[CODE_DIGEST].string_value if CODE_DIGEST in parameters else ""
    component = class_path.split(".")[2] if class_path.startswith("crossrec.components.") else ""
    if compiled and component and compiled != code_digest(component):
        logging.warning(
            "the image's code of %s (digest %s) is not what the specification was compiled from (%s): cached results "
            "may be those of other code. Compile with the release that the image holds.",
            component,
            code_digest(component),
            compiled,
        )


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python -m crossrec.pipeline.kubeflow.entry", allow_abbrev=False)
    parser.add_argument("--executor_class_path", required=True, help="the executor")
    parser.add_argument("--json_serialized_invocation_args", required=True, help="KFP's ExecutorInput")
    parser.add_argument("--json_serialized_inputs_spec_args", required=True, help="the component's declared inputs")
    parser.add_argument("--set", action="append", default=[], help="PROPERTY=TEMPLATE, see settings.py")
    parser.add_argument("--artifact_volume", default="", help="directory that holds the artifacts, if a volume does")
    parser.add_argument("--remote", action="store_true", help="leave addresses alone: Beam's workers are elsewhere")
    parser.add_argument("--staging_root", default="/", help="where the launcher stages; / on every cluster")
    return parser.parse_known_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
