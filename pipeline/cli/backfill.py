"""`crossrec backfill`: the pipeline of a spec for one date after another."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossrec.pipeline.backfill import Entry
    from crossrec.pipeline.local_runner import NodeResult
    from crossrec.pipeline.spec.spec import Spec

_DESCRIPTION = """\
Run the pipeline of a spec for one date after another, each on the data up to that date, as
`crossrec run --until DATE` does. A date that is finished is not run again, unless spec or data changed since; the first
failure ends it, and the same command goes on from there."""


def add_parser(subparsers: Any) -> None:
    """Registers the command."""
    from crossrec.pipeline.cli.run import add_places

    parser = subparsers.add_parser(
        "backfill",
        help="run the pipeline for one date after another",
        description=_DESCRIPTION,
        epilog="Example: crossrec backfill my-spec.yaml --data data --from 2025-06-01 --to 2025-06-30 --every 7",
    )
    add_places(parser)
    parser.add_argument("--from", dest="first", metavar="DAY", required=True, help="first date (2025-06-01), or span")
    parser.add_argument("--to", dest="last", metavar="DAY", required=True, help="last date or span, at the latest")
    parser.add_argument(
        "--every", type=int, metavar="N", default=1, help="days or spans from one date to the next (default: 1)"
    )
    parser.add_argument("--window", type=int, metavar="DAYS", help="days of data for each date, whatever the spec says")
    parser.add_argument("--publish", action="store_true", help="publish each model that is good enough")
    parser.add_argument("--again", action="store_true", help="run finished dates too")
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="results as JSON, where finished dates are looked up (default: ROOT/backfill.json)",
    )
    parser.add_argument("--no-cache", action="store_true", help="compute everything anew")
    parser.add_argument("--verbose", action="store_true", help="leave the libraries' logs on the terminal")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command; 0 if all dates are finished, 1 if a step failed, 2 for bad input."""
    from crossrec.pipeline.terminal import quiet_libraries

    with tempfile.NamedTemporaryFile(suffix=".log") as log, quiet_libraries(log.name, options.verbose) as terminal:
        from crossrec.pipeline.backfill import FILE, dates, read_entries
        from crossrec.pipeline.spec.errors import SpecError
        from crossrec.pipeline.spec.load import load_spec

        path = Path(options.json) if options.json else Path(options.root) / FILE
        try:
            if options.every < 1 or (options.window is not None and options.window < 1):
                raise ValueError("--every and --window count days, from 1 on. Give a larger number")
            days = list(dates(options.first, options.last, options.every))
            entries = read_entries(path)
            spec = load_spec(options.spec)
        except SpecError as error:
            terminal.error.write(f"{error}\n")
            return 2
        except ValueError as error:
            terminal.error.write(f"crossrec backfill: {error}\n")
            return 2
    done: list[Entry] = []
    for place, day in enumerate(days):
        print(f"\n[{place + 1}/{len(days)}] until {day}", flush=True)
        code, entry = _one(spec, options, day, entries, path)
        if entry is None:
            _tell(done, path)
            print(
                f"stopped at {day}: {len(done)} of {len(days)} dates are finished. Mend what is said above and run the "
                "same command again to go on",
                file=sys.stderr,
            )
            return code
        done.append(entry)
    _tell(done, path)
    return 0


def _one(
    spec: Spec, options: argparse.Namespace, day: str, entries: list[Entry], path: Path
) -> tuple[int, Entry | None]:
    """Runs one date, unless it is finished; its entry, or None if it failed, with the exit code."""
    from crossrec.pipeline.cli.run import at_window, run_spec
    from crossrec.pipeline.terminal import quiet_libraries

    with tempfile.NamedTemporaryFile(suffix=".log") as log, quiet_libraries(log.name, options.verbose) as terminal:
        from crossrec.components.errors import DataError
        from crossrec.components.example_gen.files import fingerprint
        from crossrec.pipeline.backfill import key_of, write_entries

        try:
            narrowed = at_window(spec, options.data, until=day, days=options.window)
            key = key_of(narrowed, fingerprint(narrowed.data, str(Path(options.data).resolve())), options.publish)
        except DataError as error:
            terminal.error.write(f"{error}\n")
            return 2, None
    finished = next((entry for entry in entries if entry.key == key), None)
    if finished is not None and not options.again:
        print("finished before, not run again", flush=True)
        return 0, finished
    started = time.monotonic()
    code, results = run_spec(narrowed, options, options.publish)
    if not results:
        return code, None
    entry = _entry(day, key, results, time.monotonic() - started)
    entries[:] = [other for other in entries if other.key != key] + [entry]
    write_entries(path, entries)
    return 0, entry


def _entry(day: str, key: str, results: Mapping[str, NodeResult], seconds: float) -> Entry:
    """What is kept of a run."""
    from crossrec.components.evaluation.report import Report
    from crossrec.components.example_gen.report import read_report
    from crossrec.components.modeling.warm_start import PROPERTY
    from crossrec.pipeline.backfill import Entry

    report = Report.read(results["Evaluation"].outputs["report"].uri)
    data = read_report(results["InteractionsExampleGen"].outputs["examples"].uri)
    published = results["Publisher"].outputs["published"].properties if "Publisher" in results else {}
    return Entry(
        until=day,
        key=key,
        blessed=report.blessed,
        version=int(published["pushed_version"]) if published.get("pushed") == 1 else None,
        seconds=round(seconds, 1),
        rows={name: split.rows for name, split in data.splits.items()},
        warm_start=str(results["RetrievalTrainer"].outputs["retrieval_model"].properties.get(PROPERTY, "")),
        metrics=report.metrics,
    )


def _tell(done: list[Entry], path: Path) -> None:
    from crossrec.pipeline.backfill import table

    print(f"\n{table(done)}\n\nAll figures: {path}", flush=True)
