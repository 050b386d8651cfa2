"""`crossrec run`: the whole pipeline of a spec, on this machine."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

DEFAULT_ROOT = "crossrec-run"


def add_parser(subparsers: Any) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "run",
        help="run the pipeline of a spec: read, transform, train, measure, publish",
        description="Run the whole pipeline of a spec on this machine and publish what is good enough.",
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

    if importlib.util.find_spec("tfx") is None:
        print("crossrec run needs TFX. Install the pipeline extra: pip install 'crossrec[pipeline]'", file=sys.stderr)
        return 2
    with tempfile.NamedTemporaryFile(suffix=".log") as log, quiet_libraries(log.name, options.verbose) as terminal:
        from crossrec.components.errors import DataError
        from crossrec.components.example_gen.checks import check_inputs
        from crossrec.pipeline.columns import interaction_columns, item_columns
        from crossrec.pipeline.spec.errors import SpecError
        from crossrec.pipeline.spec.load import load_spec

        try:
            spec = load_spec(options.spec)
            check_inputs(spec.data, options.data, item_columns(spec), interaction_columns(spec))
        except (SpecError, DataError) as error:
            terminal.write(f"{error}\n")
            return 2
        if options.check:
            terminal.write(f"{options.spec}: spec and data are fine\n")
            return 0
    return run_spec(spec, options)


def run_spec(spec: Any, options: argparse.Namespace) -> int:
    """Runs a spec that was checked; the exit code as for ``run``."""
    from crossrec.components.run_lock import RunInProgressError, run_lock
    from crossrec.pipeline.terminal import quiet_libraries

    root = Path(options.root).resolve()
    log = root / "logs" / f"{datetime.now():%Y%m%d-%H%M%S}.log"
    started = time.monotonic()
    with quiet_libraries(str(log), options.verbose) as terminal:
        terminal.write(f"Pipeline '{spec.name}' in {root}\n")
        terminal.flush()
        from crossrec.pipeline.dag import Locations, build
        from crossrec.pipeline.local_runner import NodeFailedError, run_pipeline
        from crossrec.pipeline.story import Narrator, tell

        pipeline = build(spec, Locations(str(Path(options.data).resolve()), str(root)), cache=not options.no_cache)
        narrator = Narrator(terminal, len(pipeline.components))
        try:
            with run_lock(root):
                results = run_pipeline(pipeline, narrator.start, narrator.end)
        except RunInProgressError as error:
            terminal.write(f"{error}\n")
            return 2
        except NodeFailedError as error:
            return _failed(error, log, terminal)
        story = tell(results)
        terminal.write(f"\n{story}\n\nDone in {time.monotonic() - started:.0f} s. Logs of the libraries: {log}\n")
        return 0 if results["Publisher"].outputs["published"].properties.get("pushed") == 1 else 3


def _failed(error: BaseException, log: Path, terminal: TextIO) -> int:
    """Explains a failed node: bad data in the words of the data, anything else with the place of the log."""
    from crossrec.components.errors import DataError

    traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DataError):
        last, cause = cause, cause.__cause__ or cause.__context__
    if cause is not None:
        terminal.write(f"\n{error}.\n{cause}\n")
        return 2
    reason = traceback.format_exception_only(type(last), last)[-1].strip()
    terminal.write(f"\n{error}: {reason[:1000]}\nThe whole story is in {log}\n")
    return 1
