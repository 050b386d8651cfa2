"""`crossrec run`: the whole pipeline of a spec, on this machine."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from crossrec.pipeline.local_runner import NodeResult
    from crossrec.pipeline.spec.spec import Spec
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
    add_places(parser)
    parser.add_argument(
        "--since", metavar="DAY", help="read interactions from this day (2025-06-01) or span on, whatever the window"
    )
    parser.add_argument(
        "--until", metavar="DAY", help="read interactions up to this day or span, itself included (default: the newest)"
    )
    parser.add_argument("--no-cache", action="store_true", help="compute everything anew")
    parser.add_argument("--check", action="store_true", help="check spec and data, run nothing")
    parser.add_argument("--verbose", action="store_true", help="leave the libraries' logs on the terminal")
    parser.set_defaults(run=run)


def add_places(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which spec is run, on what, and where."""
    examples = "marketplace, online_retail, product_search"
    parser.add_argument("spec", metavar="SPEC", help=f"a YAML file, or an example's name: {examples}")
    parser.add_argument("--data", metavar="DIR", default=".", help="folder of the spec's data (default: this one)")
    parser.add_argument(
        "--root",
        metavar="DIR",
        default=DEFAULT_ROOT,
        help=f"folder for everything that the run makes (default: {DEFAULT_ROOT})",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command; 0 if a model was published, 1 if a step failed, 2 for bad input, 3 if none was blessed."""
    from crossrec.pipeline.terminal import quiet_libraries

    with tempfile.NamedTemporaryFile(suffix=".log") as log, quiet_libraries(log.name, options.verbose) as terminal:
        from crossrec.components.errors import DataError
        from crossrec.pipeline.spec.errors import SpecError
        from crossrec.pipeline.spec.load import load_spec

        try:
            spec = at_window(load_spec(options.spec), options.data, options.since, options.until)
        except (SpecError, DataError) as error:
            terminal.error.write(f"{error}\n")
            return 2
        if options.check:
            terminal.out.write(f"{options.spec}: spec and data are fine\n")
            return 0
    return run_spec(spec, options).code


def at_window(
    spec: Spec, data: str, since: str | None = None, until: str | None = None, days: int | None = None
) -> Spec:
    """The spec on the part of the data that its window has now, checked against the data.

    Args:
        spec: The spec.
        data: Folder of its data.
        since: As ``--since``.
        until: As ``--until``.
        days: Length of the window instead of the spec's.

    Raises:
        DataError: The data cannot be used, or the window holds none.
    """
    from crossrec.components.example_gen.checks import check_inputs
    from crossrec.components.example_gen.pin import pinned, with_window
    from crossrec.pipeline.columns import interaction_columns, item_columns
    from crossrec.pipeline.encoders import check_encoders
    from crossrec.pipeline.schemas import check_schemas

    folder = str(Path(data).resolve())
    spec = spec.model_copy(update={"data": pinned(with_window(spec.data, since, until, days), folder)})
    check_inputs(spec.data, folder, item_columns(spec), interaction_columns(spec))
    check_schemas(spec, folder)
    check_encoders(spec.features)
    return spec


class Outcome(NamedTuple):
    """What became of a run.

    Attributes:
        code: Exit code, as for ``run``.
        results: What became of each node, by its id; empty if the run failed.
    """

    code: int
    results: Mapping[str, NodeResult]


def run_spec(spec: Spec, options: argparse.Namespace, publish: bool = True) -> Outcome:
    """Runs a spec that was checked.

    Args:
        spec: The spec.
        options: ``data``, ``root``, ``no_cache`` and ``verbose``.
        publish: Whether a server is asked, and the bundle published if it is good enough; the code is 0 otherwise
            for any that was made.
    """
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
            return Outcome(2, {})
        except OSError as error:
            reason = f"{error.strerror}: {error.filename}"
            print(f"--root {options.root}: cannot be written ({reason}). Name a folder that can", file=sys.stderr)
            return Outcome(2, {})
        return _run(spec, options, (root, log, publish), terminal)


def _run(spec: Spec, options: argparse.Namespace, how: tuple[Path, Path, bool], terminal: Terminal) -> Outcome:
    root, log, publish = how
    started = time.monotonic()
    terminal.out.write(f"Pipeline '{spec.name}' in {root}\n")
    terminal.out.flush()
    from crossrec.pipeline.dag import build, never_cached
    from crossrec.pipeline.failures import explain
    from crossrec.pipeline.local_runner import NodeFailedError, run_pipeline
    from crossrec.pipeline.locations import Locations
    from crossrec.pipeline.narrator import Narrator
    from crossrec.pipeline.story import tell

    locations = Locations(str(Path(options.data).resolve()), str(root))
    pipeline = build(spec, locations, not options.no_cache, publish)
    try:
        with Narrator(terminal.out, len(pipeline.components)) as narrator:
            results = run_pipeline(pipeline, narrator.start, narrator.end, never_cached(spec))
    except NodeFailedError as error:
        # Descriptor 2 is the log file, or the terminal if the libraries may write there.
        with open(2, "w", encoding="utf-8", closefd=False) as stream:
            traceback.print_exception(type(error), error, error.__traceback__, file=stream)
        failure = explain(error, log)
        terminal.error.write(f"\n{failure.message}\n")
        return Outcome(failure.code, {})
    story = f"\n{tell(results)}\n\n" if publish else ""
    terminal.out.write(f"{story}Done in {time.monotonic() - started:.0f} s. Logs of the libraries: {log}\n")
    published = not publish or results["Publisher"].outputs["published"].properties.get("pushed") == 1
    return Outcome(0 if published else 3, results)
