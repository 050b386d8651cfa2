"""`crossrec serve`: serve the published models with the best server that this machine has."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BINARY = "tensorflow_model_server"
_IMAGE = "tensorflow/serving:2.16.1"
_STARTUP_SECONDS = 300.0
_STOP_SECONDS = 20.0
_DOCKER_SECONDS = 10.0
# TensorFlow Serving logs every step to the terminal otherwise.
_ERRORS_ONLY = {"TF_CPP_MIN_LOG_LEVEL": "2"}


@dataclass(frozen=True)
class _Plan:
    """A server to start: what to call it, and its command."""

    label: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `crossrec`.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser = subparsers.add_parser(
        "serve",
        help="serve a published model over gRPC",
        description=(
            "Serve a model that `crossrec run` published. Uses the TensorFlow Serving binary where it is "
            "installed, else its Docker image where Docker runs, else the local server. New versions are "
            "picked up while it runs."
        ),
        epilog="Example: crossrec serve --root demo/run --port 8500",
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path("crossrec-run"),
        metavar="DIR",
        help="root of the run, as given to `crossrec run` (default: %(default)s)",
    )
    parser.add_argument("--model", metavar="NAME", help="model below DIR/serving; may be left out where there is one")
    parser.add_argument(
        "--model-base-path", type=Path, metavar="DIR", help="directory with the versions, instead of --root"
    )
    parser.add_argument("--port", type=int, default=8500, help="port on this machine (default: %(default)s)")
    parser.add_argument(
        "--server",
        choices=("auto", "binary", "docker", "local"),
        default="auto",
        help="which server to use (default: the first of binary, docker, local that this machine has)",
    )
    parser.add_argument(
        "--server-flag",
        action="append",
        default=[],
        metavar="FLAG",
        help="a flag handed to the server as it is, such as --server-flag=--enable_batching; may be repeated. All "
        "three servers take TensorFlow Serving's names; Docker sees no files of this machine but the model's",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM.

    Args:
        args: Parsed arguments, see `add_parser`.

    Returns:
        Exit code: 0 after a stop, 2 where an argument is wrong, otherwise the server's own.
    """
    try:
        if not 1 <= args.port <= 65535:
            raise ValueError(f"--port={args.port}: give a port between 1 and 65535")
        base_path = find_model(args.root, args.model, args.model_base_path)
        name = args.model or base_path.name
        plan = _plan(args.server, base_path, name, args.port)
        plan.command.extend(_checked_flags(args.server_flag))
    except ValueError as error:
        print(f"crossrec serve: {error}", file=sys.stderr)
        return 2
    print(f"Serving {name} from {base_path} with {plan.label}.", flush=True)
    return _supervise(plan, name, f"127.0.0.1:{args.port}")


def find_model(root: Path, model: str | None, base_path: Path | None) -> Path:
    """Find the directory that holds a model's versions.

    Args:
        root: Root of a run; its models lie under ``serving/``.
        model: Name of the model; None takes the only one.
        base_path: The directory itself; then `root` does not matter.

    Returns:
        Absolute path of a directory that holds at least one version.

    Raises:
        ValueError: There is none, or there are several models; the message names the path and the mend.
    """
    if base_path is not None:
        return _require_versions(base_path, "--model-base-path")
    serving = root / "serving"
    if model is not None:
        return _require_versions(serving / model, f"--model {model}: no published version")
    models = (
        [child for child in sorted(serving.iterdir()) if child.is_dir() and _versions(child)]
        if serving.is_dir()
        else []
    )
    if not models:
        raise ValueError(
            f"--root {root}: no published model under {serving.absolute()}. Publish one with "
            f"`crossrec run SPEC --root {root}`, or name another root"
        )
    if len(models) > 1:
        names = ", ".join(child.name for child in models)
        raise ValueError(f"--root {root}: {serving} holds several models: {names}. Choose one with --model")
    return models[0].absolute()


def _checked_flags(flags: Sequence[str]) -> Sequence[str]:
    owned = {
        "--port": "--port",
        "--model_name": "--model",
        "--model_base_path": "--model-base-path",
        "--model_config_file": "--model-base-path",
    }
    for flag in flags:
        name = flag.partition("=")[0]
        if not name.startswith("--"):
            raise ValueError(f"--server-flag {flag}: is no flag. Write it as --server-flag=--name=value")
        if name in owned:
            raise ValueError(f"--server-flag {flag}: this command sets it itself. Use {owned[name]}")
        if name == "--ssl_config_file":
            raise ValueError(
                f"--server-flag {flag}: this command asks the server without TLS whether it is ready. Start a "
                "server with TLS by itself: python -m crossrec.serving.local_server, or tensorflow_model_server"
            )
    return flags


def _require_versions(path: Path, what: str) -> Path:
    mend = "Publish one with `crossrec run`, or name another directory"
    if not path.is_dir():
        raise ValueError(f"{what}: {path.absolute()} is no directory. {mend}")
    if not _versions(path):
        raise ValueError(f"{what}: {path.absolute()} holds no version (a directory with a number as its name). {mend}")
    return path.absolute()


def _versions(path: Path) -> list[Path]:
    return [child for child in path.iterdir() if child.name.isdecimal() and child.is_dir()]


def _plan(choice: str, base_path: Path, name: str, port: int) -> _Plan:
    makers: dict[str, Callable[[Path, str, int], _Plan | None]] = {
        "binary": _binary,
        "docker": _docker,
        "local": _local,
    }
    wanted = list(makers) if choice == "auto" else [choice]
    for kind in wanted:
        plan = makers[kind](base_path, name, port)
        if plan is not None:
            return plan
    mends = {
        "binary": f"{_BINARY} is not on PATH. Install it, or use --server local",
        "docker": "no Docker engine answers `docker info`. Start one, or use --server local",
        "auto": "this machine has no server. Install crossrec[pipeline] for the local one",
        "local": "the local server needs TensorFlow. Install crossrec[pipeline]",
    }
    raise ValueError(f"--server {choice}: {mends[choice]}")


def _binary(base_path: Path, name: str, port: int) -> _Plan | None:
    found = shutil.which(_BINARY)
    if found is None:
        return None
    flags = [f"--port={port}", f"--model_name={name}", f"--model_base_path={base_path}"]
    return _Plan(f"TensorFlow Serving ({found})", [found, *flags], _ERRORS_ONLY)


def _docker(base_path: Path, name: str, port: int) -> _Plan | None:
    found = shutil.which("docker")
    if found is None:
        return None
    try:
        answer = subprocess.run([found, "info"], capture_output=True, timeout=_DOCKER_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:  # the client alone, without an engine
        return None
    # The image's own entry point is a shell that keeps signals from the server.
    command = [found, "run", "--rm", "--init", "--publish", f"127.0.0.1:{port}:8500"]
    command += [part for name, value in _ERRORS_ONLY.items() for part in ("--env", f"{name}={value}")]
    command += ["--volume", f"{base_path}:/models/{name}:ro", "--entrypoint", _BINARY, _IMAGE]
    command += ["--port=8500", f"--model_name={name}", f"--model_base_path=/models/{name}"]
    return _Plan(f"TensorFlow Serving in Docker ({_IMAGE})", command)


def _local(base_path: Path, name: str, port: int) -> _Plan | None:
    import importlib.util

    if any(importlib.util.find_spec(module) is None for module in ("tensorflow", "tensorflow_serving")):
        return None
    module = [sys.executable, "-m", "crossrec.serving.local_server", "--stop_with_stdin"]
    flags = [f"--port={port}", f"--model_name={name}", f"--model_base_path={base_path}"]
    return _Plan("the local server (no TensorFlow Serving binary or Docker engine in use)", module + flags)


def _supervise(plan: _Plan, name: str, target: str) -> int:
    """Run the server, say when it is ready, and stop it when asked."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    # A session of its own keeps Ctrl-C from reaching the server directly: it is stopped once, from here.
    process = subprocess.Popen(
        plan.command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **plan.environment},
    )
    threading.Thread(target=_announce, args=(process, name, target, stopping), daemon=True).start()
    while process.poll() is None and not stopping.wait(0.1):
        pass
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if stopping.is_set():
        print("Stopped.", flush=True)
        return 0
    print(
        f"crossrec serve: the server ended with code {process.returncode}; see its message above",
        file=sys.stderr,
    )
    return process.returncode or 1


def _announce(process: subprocess.Popen[bytes], name: str, target: str, stopping: threading.Event) -> None:
    from crossrec.serving.client import ClientConfig, RecommenderClient, RecommenderError

    end = time.monotonic() + _STARTUP_SECONDS
    with RecommenderClient(target, name, ClientConfig(deadline_seconds=1.0)) as client:
        while process.poll() is None and not stopping.is_set() and time.monotonic() < end:
            try:
                available = [one.version for one in client.status() if one.state == "AVAILABLE"]
            except RecommenderError:
                available = []
            if available:
                print(
                    f"Ready: {name} version {max(available)} at {target}. Stop with Ctrl-C. Ask it with\n"
                    f"  crossrec query --target {target} --model {name} --user ID",
                    flush=True,
                )
                return
            stopping.wait(0.3)
