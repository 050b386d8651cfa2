"""`crossrec simulate`: make the data of a marketplace."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

_SECONDS_BETWEEN_LINES = 10.0

_DESCRIPTION = """\
Simulate a marketplace and write it to the folder OUT: interactions/ (one row per item shown, with clicks and purchases,
ordered by time), items.parquet, and truth.json, which says which feature crosses were planted and how strong
they are. Equal options give equal files. Memory does not grow with the number of rows."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.
    """
    parser = subparsers.add_parser(
        "simulate",
        help="make the data of a marketplace with planted feature crosses",
        description=_DESCRIPTION,
        epilog="Example: crossrec simulate data --rows 20000",
    )
    parser.add_argument("out", metavar="OUT", help="folder to write; it must be new or empty, or see --overwrite")
    parser.add_argument("--rows", type=int, metavar="N", help="impressions to write (default: 100000)")
    parser.add_argument("--users", type=int, metavar="N", help="users (default: one per 50 rows, at most 2000000)")
    parser.add_argument(
        "--items",
        type=int,
        metavar="N",
        help="items (default: 2000 at 100000 rows, growing with the square root of rows, at least 500)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="start of all random streams (default: 0)")
    parser.add_argument(
        "--days", type=int, metavar="N", help="length of the period, which ends on 2025-06-30 (default: 60)"
    )
    parser.add_argument(
        "--format",
        choices=("parquet", "csv"),
        help="file format; in csv, lists are joined by | (default: parquet)",
    )
    parser.add_argument(
        "--by-day",
        action="store_true",
        default=None,
        help="a folder for each day, interactions/2025-06-30 and so on; the spec's path is then interactions/{date}",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a former simulation at OUT")
    parser.set_defaults(run=run)


def _reporter() -> Callable[[int, int], None]:
    """Return a progress callback: one line that is rewritten on a terminal, else a line every ten seconds."""
    rewrites = sys.stderr.isatty()
    begin = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if not rewrites and now - last < _SECONDS_BETWEEN_LINES:
            return
        last = now
        line = f"{done:,} of {total:,} rows, {done / max(now - begin, 1e-6):,.0f} rows per second"
        if rewrites:
            print(f"\r\033[K{line}", end="\n" if done == total else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    return report


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Args:
        args: the parsed options.

    Returns:
        0; 2 for a bad option; 1 if the files could not be written; 130 if interrupted.
    """
    from pydantic import ValidationError

    from crossrec.pipeline.simulation import SimulationConfig, SimulationError, explain, simulate

    names = ("rows", "users", "items", "seed", "days", "format", "by_day")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    try:
        config = SimulationConfig(**given)
    except ValidationError as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 2
    begin = time.monotonic()
    try:
        truth = simulate(config, args.out, overwrite=args.overwrite, progress=_reporter())
    except SimulationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped; nothing was written to {args.out}", file=sys.stderr)
        return 130
    totals = truth.totals
    detectable = [cross.name for cross in truth.crosses if cross.detectable]
    print(
        f"wrote {args.out} in {time.monotonic() - begin:.1f} s\n"
        f"  {totals['rows']:,} impressions in {totals['requests']:,} requests, {config.days} days\n"
        f"  {totals['users']:,} of {config.user_count:,} users made requests; {totals['items']:,} items\n"
        f"  click rate {totals['click_rate']:.3f}, purchases per click {totals['purchase_rate']:.3f}\n"
        f"  {len(truth.crosses)} planted crosses in truth.json; "
        f"{len(detectable)} detectable at this size: {', '.join(detectable) or 'none'}"
    )
    return 0
