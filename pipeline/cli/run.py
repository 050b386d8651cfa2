"""`crossrec run`: the whole pipeline of a spec, on this machine."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
import traceback
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossrec.pipeline.terminal import Terminal

DEFAULT_ROOT = "crossrec-run"


def add_parser(subparsers: Any) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "run",
        help="run the pipeline of a spec: read, transform, train, measure, publish",
        description=(
            "Run the whole pipeline of a spec on this machine and publish the model if it is good enough. Steps whose "
            "input did not change are taken from the last run with the same --root."
        ),
        epilog="Example: crossrec run marketplace --data data, or: crossrec run my-spec.yaml --data data --root my-run",
    )
    parser.add_argument("spec", metavar="SPEC", help="a YAML file, or an example's name: marketplace, online_retail")
    parser.add_argument("--data", metavar="DIR", default=".", help="folder of the spec's data (default: this one)")
    parser.add_argument(
        "--root",
        metavar="DIR",
        default=DEFAULT_ROOT,
        help=f"folder for everything that the run makes (default: {DEFAULT_ROOT})",
    )
    parser.add_argument("--no-cache", action="store_true", help="compute everything anew")
    parser.add_argument("--check", action="store_true", help="check spec and data, run nothing")
    parser.add_argument("--verbose", action="store_true", help="leave the libraries' logs on the terminal")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command; 0 if a model was published, 1 if a step failed, 2 for bad input, 3 if none was blessed."""
    from crossrec.pipeline.terminal import quiet_libraries

    with tempfile.NamedTemporaryFile(suffix=".log") as log, quiet_libraries(log.name, options.verbose) as terminal:
        from crossrec.components.errors import DataError
        from crossrec.components.example_gen.checks import check_inputs
        from crossrec.pipeline.columns import interaction_columns, item_columns
        from crossrec.pipeline.schemas import check_schemas
        from crossrec.pipeline.spec.errors import SpecError
        from crossrec.pipeline.spec.load import load_spec

        try:
            spec = load_spec(options.spec)
            check_inputs(spec.data, options.data, item_columns(spec), interaction_columns(spec))
            check_schemas(spec, options.data)
        except (SpecError, DataError) as error:
            terminal.error.write(f"{error}\n")
            return 2
        if options.check:
            terminal.out.write(f"{options.spec}: spec and data are fine\n")
            return 0
    return run_spec(spec, options)


def run_spec(spec: Any, options: argparse.Namespace) -> int:
    """Runs a spec that was checked; the exit code as for ``run``."""
    from crossrec.components.run_lock import RunInProgressError, run_lock
    from crossrec.pipeline.terminal import quiet_libraries

    root = Path(options.root).resolve()
    log = root / "logs" / f"{datetime.now():%Y%m%d-%H%M%S}.log"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(run_lock(root))
            terminal = stack.enter_context(quiet_libraries(str(log), options.verbose))
        except RunInProgressError as error:
            print(error, file=sys.stderr)
            return 2
        except OSError as error:
            reason = f"{error.strerror}: {error.filename}"
            print(f"--root {options.root}: cannot be written ({reason}). Name a folder that can", file=sys.stderr)
            return 2
        return _run(spec, options, root, log, terminal)


def _run(spec: Any, options: argparse.Namespace, root: Path, log: Path, terminal: Terminal) -> int:
    started = time.monotonic()
    terminal.out.write(f"Pipeline '{spec.name}' in {root}\n")
    terminal.out.flush()
    from crossrec.pipeline.dag import Locations, build, never_cached
    from crossrec.pipeline.failures import explain
    from crossrec.pipeline.local_runner import NodeFailedError, run_pipeline
    from crossrec.pipeline.narrator import Narrator
    from crossrec.pipeline.story import tell

    pipeline = build(spec, Locations(str(Path(options.data).resolve()), str(root)), cache=not options.no_cache)
    try:
        with Narrator(terminal.out, len(pipeline.components)) as narrator:
            results = run_pipeline(pipeline, narrator.start, narrator.end, never_cached(spec))
    except NodeFailedError as error:
        # Descriptor 2 is the log file, or the terminal if the libraries may write there.
        with open(2, "w", encoding="utf-8", closefd=False) as stream:
            traceback.print_exception(type(error), error, error.__traceback__, file=stream)
        failure = explain(error, log)
        terminal.error.write(f"\n{failure.message}\n")
        return failure.code
    story = tell(results)
    terminal.out.write(f"\n{story}\n\nDone in {time.monotonic() - started:.0f} s. Logs of the libraries: {log}\n")
    return 0 if results["Publisher"].outputs["published"].properties.get("pushed") == 1 else 3
