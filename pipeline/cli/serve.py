"""`crossrec serve`: serve the published models with the best server that this machine has."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossrec.serving.launch.models import Served
    from crossrec.serving.launch.plans import Plan
    from crossrec.serving.launch.process import ServerProcess

_STARTUP_SECONDS = 300.0
_LOOK_SECONDS = 0.3


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
            "picked up while it runs; but where `crossrec release` manages the model, the server loads and labels what "
            "was released, from DIR/serving/models.config, and the release commands move it."
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
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--model-base-path",
        type=Path,
        metavar="DIR",
        help="directory with the versions, instead of --root; the latest one is served, released or not",
    )
    instead.add_argument(
        "--model-config-file",
        type=Path,
        metavar="FILE",
        help="models.config with models, versions and labels, instead of --root; ready when each label 'stable' in it "
        "answers",
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
    from crossrec.serving.launch.errors import LaunchError, NoServerError
    from crossrec.serving.launch.plans import AUTO, choose
    from crossrec.serving.launch.ports import HOST, is_taken
    from crossrec.serving.releases.errors import ReleaseError

    try:
        if not 1 <= args.port <= 65535:
            raise ValueError(f"--port={args.port}: give a port between 1 and 65535")
        flags = _checked_flags(args.server_flag)
        served = _served(args)
        plan = choose(args.server, served, args.port, flags)
    except NoServerError as error:
        other = "" if args.server in (AUTO, "local") else ", or use --server local"
        print(f"crossrec serve: --server {args.server}: {error}{other}", file=sys.stderr)
        return 2
    except (ValueError, LaunchError) as error:
        print(f"crossrec serve: {error}", file=sys.stderr)
        return 2
    except ReleaseError as error:
        print(f"crossrec serve: {error}", file=sys.stderr)
        return 1
    if is_taken(args.port):
        print(
            f"crossrec serve: --port {args.port}: another process listens at {HOST}:{args.port}; choose another --port",
            file=sys.stderr,
        )
        return 1
    names = ", ".join(model.name for model in served.models)
    place = served.config_file or served.models[0].path
    note = " (no TensorFlow Serving binary or Docker engine in use)" if plan.kind == "local" else ""
    print(f"Serving {names} from {place} with {plan.label}{note}.", flush=True)
    return _supervise(plan, served, f"{HOST}:{args.port}")


def _served(args: argparse.Namespace) -> Served:
    """What the arguments, and the releases of the root, say is to be served."""
    from crossrec.serving.launch.models import configured_models, one_model

    if args.model_config_file is not None:
        if args.model is not None:
            raise ValueError("--model: names no part of --model-config-file. Give one of the two")
        return configured_models(args.model_config_file)
    if args.model_base_path is None:
        managed = _models_config(args.root / "serving", args.model)
        if managed is not None:
            return configured_models(managed)
    base_path = find_model(args.root, args.model, args.model_base_path)
    return one_model(args.model or base_path.name, base_path)


def _models_config(serving: Path, model: str | None) -> Path | None:
    """The configuration that `crossrec release` keeps, if it manages the model, or any where none is named."""
    from crossrec.serving.releases.store import FileStore

    store = FileStore(serving.absolute())
    state = store.read()
    managed = [name for one in state.sets.values() for name in one.models] if state is not None else []
    if not managed or (model is not None and model not in managed):
        return None
    return Path(store.models_config)


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
        "--model_config_file": "--model-config-file",
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


def _supervise(plan: Plan, served: Served, target: str) -> int:
    """Run the server, say when it is ready, and stop it when asked."""
    from crossrec.serving.launch.process import ServerProcess

    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with ServerProcess(plan) as process:
        threading.Thread(target=_announce, args=(process, served, target, stopping), daemon=True).start()
        while process.exit_code() is None and not stopping.wait(0.1):
            pass
        code = process.exit_code()
    if stopping.is_set():
        print("Stopped.", flush=True)
        return 0
    print(f"crossrec serve: the server ended with code {code}; see its message above", file=sys.stderr)
    return code or 1


def _announce(process: ServerProcess, served: Served, target: str, stopping: threading.Event) -> None:
    from crossrec.serving.launch.readiness import ready_versions

    end = time.monotonic() + _STARTUP_SECONDS
    while process.exit_code() is None and not stopping.is_set() and time.monotonic() < end:
        versions = ready_versions(target, served.models)
        if versions is not None:
            print(_ready_text(served, versions, target), flush=True)
            return
        stopping.wait(_LOOK_SECONDS)


def _ready_text(served: Served, versions: Mapping[str, int], target: str) -> str:
    lines = []
    for model in served.models:
        labelled = f", which has the label {model.label}," if model.label else ""
        lines.append(f"Ready: {model.name} version {versions[model.name]}{labelled} at {target}.")
        if served.config_file is not None and not model.label:
            lines[-1] += " It has no label stable: clients that ask for one need `crossrec release reconcile`."
    first = served.models[0]
    label = f" --label {first.label}" if first.label else ""
    return "\n".join(
        [
            *lines[:-1],
            f"{lines[-1]} Stop with Ctrl-C. Ask it with",
            f"  crossrec query --target {target} --model {first.name}{label} --user ID",
        ]
    )
