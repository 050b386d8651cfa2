"""`crossrec experiment`: who is in which arm, how many users it takes, and what came of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossrec.pipeline.cli import experiment_options as options
from crossrec.pipeline.cli.extras import missing_extra

_DESCRIPTION = """\
Compare versions of a model on users: a client splits its traffic between version labels and records who was served by
which (see serving/experiments). This says how many users that takes, which arm a user is in, and what came of it.

  crossrec experiment plan --mean 0.05 --lift 0.03 --shares 50,50
  crossrec experiment assign experiment.json u1 u2
  crossrec experiment analyse --exposures exposures --outcomes clicks.csv --metric clicked:any --planned-units 700000
"""
_EPILOG = """\
Exit codes: 0 well; 2 wrong usage or data; 3 the arms do not have the users that their shares promise, so that no
verdict is given. `analyse` needs pip install 'crossrec[pipeline]', the others the light core only.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `crossrec`.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser(
        "experiment",
        help="compare versions on users: plan, assign, analyse",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=raw,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)

    def add(name: str, help_text: str, action: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = actions.add_parser(name, help=help_text, description=help_text)
        added.add_argument("--json", action="store_true", help="print JSON")
        added.set_defaults(run=_guarded(name, action))
        return added

    analyse = add("analyse", "report each arm's lift, with intervals that hold at every look", _analyse)
    analyse.add_argument("--exposures", required=True, metavar="DIR", help="folder of the clients' exposure records")
    analyse.add_argument(
        "--outcomes", required=True, nargs="+", metavar="FILE", help="CSV, Parquet or JSONL: one row per outcome"
    )
    analyse.add_argument(
        "--metric",
        required=True,
        action="append",
        metavar="M",
        help="COLUMN: its sum per unit; COLUMN:any: whether that is above zero; A/B: a ratio of sums, where 'rows' "
        "counts rows. Give it again for more",
    )
    analyse.add_argument("--experiment", metavar="NAME", help="where the folder holds several")
    analyse.add_argument("--control", metavar="ARM", help="arm to compare with (default: the experiment's own)")
    for flag, default in (("--unit-column", "user_id"), ("--time-column", "timestamp")):
        analyse.add_argument(flag, default=default, metavar="C", help=f"of the outcomes (default: {default})")
    analyse.add_argument(
        "--window",
        type=options.duration,
        default="1d",
        metavar="T",
        help="outcomes count so long after a unit's first exposure; units with an open window wait (default: 1d)",
    )
    analyse.add_argument("--covariate", metavar="C", help="column whose sum before the exposure explains variance")
    analyse.add_argument(
        "--before",
        type=options.duration,
        default="14d",
        metavar="T",
        help="how far back the covariate reaches (default: 14d)",
    )
    analyse.add_argument("--planned-units", type=int, metavar="N", help="units of all arms that were planned, see plan")
    analyse.add_argument("--alpha", type=float, default=0.05, metavar="A", help="odds of a false verdict (0.05)")
    analyse.add_argument("--from", dest="begin", type=options.moment, metavar="TIME", help="leave out what was before")
    analyse.add_argument(
        "--until",
        type=options.moment,
        metavar="TIME",
        help="outcomes are complete up to here; later exposures are left out (default: the last outcome)",
    )

    plan = add("plan", "say how many units show a lift, or which lift so many units show", _plan)
    plan.add_argument("--mean", type=float, required=True, metavar="M", help="the metric's mean in the control")
    plan.add_argument("--deviation", type=float, metavar="S", help="its standard deviation; not for a rate of 0 and 1")
    question = plan.add_mutually_exclusive_group(required=True)
    question.add_argument("--lift", type=float, metavar="L", help="relative lift to find, such as 0.02")
    question.add_argument("--units", type=int, metavar="N", help="units of all arms")
    plan.add_argument(
        "--shares", type=options.shares, default="50,50", metavar="W,W", help="weights, control first (default: 50,50)"
    )
    plan.add_argument("--metrics", type=int, default=1, metavar="N", help="metrics to judge by (default: 1)")
    plan.add_argument("--alpha", type=float, default=0.05, metavar="A", help="odds of a false verdict (default: 0.05)")
    plan.add_argument("--power", type=float, default=0.8, metavar="P", help="odds of finding it (default: 0.8)")

    assign = add("assign", "say which arm a unit is in", _assign)
    assign.add_argument("file", metavar="FILE", help="definition of the experiment, or .releases/traffic.json")
    assign.add_argument("unit", metavar="UNIT", nargs="+", help="user id, or whatever the experiment assigns")
    assign.add_argument("--releases", metavar="MODEL", help="FILE is traffic.json; this is the model")
    assign.add_argument("--name", default="", metavar="NAME", help="with --releases: name of the experiment")


def _guarded(name: str, action: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        try:
            return action(args)
        except (OSError, ValueError) as error:  # DataError and ExperimentError are ValueErrors
            print(f"crossrec experiment {name}: {error}", file=sys.stderr)
            return 2

    return run


def _analyse(args: argparse.Namespace) -> int:
    missing = missing_extra("experiment analyse")
    if missing:
        print(missing, file=sys.stderr)
        return 2
    from crossrec.pipeline.cli.experiment_analysis import Inputs, analyse
    from crossrec.pipeline.cli.experiment_output import as_json, as_text

    report = analyse(Inputs(**{name: value for name, value in vars(args).items() if name in Inputs.model_fields}))
    print(as_json(report) if args.json else as_text(report))
    return 3 if report.judgement is None else 0


def _plan(args: argparse.Namespace) -> int:
    from crossrec.serving.experiments.analysis import Plan, detectable_lift, units_needed

    comparisons = (len(args.shares) - 1) * args.metrics
    smallest = min(args.shares[1:])
    plan = Plan(args.mean, args.deviation, args.shares[0], smallest, args.alpha, args.power, comparisons)
    units = units_needed(plan, args.lift) if args.units is None else args.units
    lift = detectable_lift(plan, args.units) if args.lift is None else args.lift
    if args.json:
        print(json.dumps({"units": units, "lift": lift, "shares": args.shares, "power": plan.power}))
        return 0
    arms = ", ".join(f"{units * share:,.0f}" for share in args.shares)
    print(f"{units:,} units ({arms}) show a lift of {lift:+.2%} with odds of {plan.power:.0%}.")
    print(f"Analyse with --planned-units {units}; a tenth of alpha={plan.alpha:g} is kept for stopping before that.")
    return 0


def _assign(args: argparse.Namespace) -> int:
    from crossrec.serving.experiments.experiment import parse_experiment, parse_release_traffic

    text = Path(args.file).read_text(encoding="utf-8")
    try:
        experiment = (
            parse_experiment(text) if args.releases is None else parse_release_traffic(text, args.releases, args.name)
        )
    except ValueError as error:
        raise ValueError(f"{args.file}: {error}") from error
    for unit in args.unit:
        found = experiment.assign(unit)
        if args.json:
            print(json.dumps({"experiment": experiment.name, "unit": unit, **found._asdict()}))
        else:
            note = "" if found.exposed else " (takes no part)"
            print(f"{unit}: {found.arm}, label {found.version_label}{note}")
    return 0
