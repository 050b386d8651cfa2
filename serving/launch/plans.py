"""Which server this machine has, and the command that starts it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossrec.serving.launch.errors import LaunchError, NoServerError
from crossrec.serving.launch.models import Served

AUTO = "auto"
BINARY = "tensorflow_model_server"
IMAGE = "tensorflow/serving:2.16.1"
_DOCKER_SECONDS = 10.0
_PORT_IN_CONTAINER = 8500
_CONFIG_IN_CONTAINER = "/crossrec-config"
# TensorFlow Serving logs every step otherwise.
_ERRORS_ONLY = {"TF_CPP_MIN_LOG_LEVEL": "2"}


@dataclass(frozen=True)
class Plan:
    """A server to start.

    Attributes:
      kind: ``binary``, ``docker`` or ``local``.
      label: What to call it.
      command: Program and arguments.
      environment: Variables beside those of this process.
      cleanup: Command that removes what a killed server would leave; empty if nothing.
    """

    kind: str
    label: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    cleanup: tuple[str, ...] = ()


def choose(choice: str, served: Served, port: int, flags: Sequence[str] = ()) -> Plan:
    """Find a server and say how it is started.

    Args:
      choice: ``binary``, ``docker``, ``local``, or ``auto`` for the first of these that this machine has.
      served: What to serve.
      port: Port on this machine.
      flags: Further flags, in TensorFlow Serving's names, which all three know.

    Returns:
      The plan.

    Raises:
      NoServerError: If there is no such server.
      LaunchError: If it could not see the models.
    """
    problem: LaunchError | None = None
    for kind in _MAKERS if choice == AUTO else (choice,):
        try:
            return _MAKERS[kind](served, port, tuple(flags))
        except LaunchError as error:
            problem = error
    assert problem is not None
    raise problem


def _binary(served: Served, port: int, flags: tuple[str, ...]) -> Plan:
    found = shutil.which(BINARY)
    if found is None:
        raise NoServerError(f"{BINARY} is not on PATH", "Install it")
    _require_paths(served)
    command = (found, f"--port={port}", *_model_flags(served), *flags)
    return Plan("binary", f"TensorFlow Serving ({found})", command, _ERRORS_ONLY)


def _docker(served: Served, port: int, flags: tuple[str, ...]) -> Plan:
    found = shutil.which("docker")
    if found is None or not _engine_answers(found):
        raise NoServerError("no Docker engine answers `docker info`", "Start one")
    name = f"crossrec-{uuid.uuid4().hex[:12]}"
    # The image's own entry point is a shell that keeps signals from the server.
    command = [found, "run", "--rm", "--init", "--name", name, "--entrypoint", BINARY]
    command += ["--publish", f"127.0.0.1:{port}:{_PORT_IN_CONTAINER}"]
    command += [part for key, value in _ERRORS_ONLY.items() for part in ("--env", f"{key}={value}")]
    volumes, own = _volumes(served)
    command += [part for volume in volumes for part in ("--volume", f"{volume}:ro")]
    command += [IMAGE, f"--port={_PORT_IN_CONTAINER}", *own, *flags]
    cleanup = (found, "rm", "--force", name)
    return Plan("docker", f"TensorFlow Serving in Docker ({IMAGE})", tuple(command), cleanup=cleanup)


def _local(served: Served, port: int, flags: tuple[str, ...]) -> Plan:
    if any(importlib.util.find_spec(module) is None for module in ("tensorflow", "tensorflow_serving")):
        raise NoServerError("the local server needs TensorFlow", "Install crossrec[pipeline]")
    _require_paths(served)
    module = (sys.executable, "-m", "crossrec.serving.local_server")
    command = (*module, f"--port={port}", *_model_flags(served), *flags)
    return Plan("local", "the local server", command)


_MAKERS: Mapping[str, Callable[[Served, int, tuple[str, ...]], Plan]] = {
    "binary": _binary,
    "docker": _docker,
    "local": _local,
}
CHOICES = (AUTO, *_MAKERS)


def _engine_answers(docker: str) -> bool:
    """Tell an engine from the client alone."""
    try:
        return subprocess.run([docker, "info"], capture_output=True, timeout=_DOCKER_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _model_flags(served: Served) -> list[str]:
    if served.config_file is None:
        (model,) = served.models
        return [f"--model_name={model.name}", f"--model_base_path={model.seen_as}"]
    return _config_flags(str(served.config_file))


def _config_flags(file: str) -> list[str]:
    # Without the second flag a server exits at its start, since labels are checked before any version is loaded.
    return [f"--model_config_file={file}", "--allow_version_labels_for_unavailable_models"]


def _volumes(served: Served) -> tuple[list[str], list[str]]:
    """Return what a container is shown, and the flags that name it there."""
    if served.config_file is None:
        (model,) = served.models
        inside = f"/models/{model.name}"
        return [f"{model.path}:{inside}"], [f"--model_name={model.name}", f"--model_base_path={inside}"]
    # The folder, not the file: a file that is replaced by another would stay the old one in the container.
    volumes = [f"{served.config_file.parent}:{_CONFIG_IN_CONTAINER}"]
    volumes += [f"{model.path}:{model.seen_as}" for model in served.models if "://" not in model.seen_as]
    return volumes, _config_flags(f"{_CONFIG_IN_CONTAINER}/{served.config_file.name}")


def _require_paths(served: Served) -> None:
    """A missing base path keeps the port of a server closed for ever, without a word."""
    for model in served.models:
        if "://" not in model.seen_as and not Path(model.seen_as).is_dir():
            raise LaunchError(
                f"{served.config_file}: model {model.name} has the base path {model.seen_as}, which is no directory "
                "of this machine",
                "Correct it (`crossrec release configure --server-root DIR` if crossrec wrote the file), or use the "
                "server docker, which is shown the models under that path",
            )
