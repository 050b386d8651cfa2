"""Prints what `crossrec experiment analyse` found."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from crossrec.pipeline.cli.experiment_analysis import Report
from crossrec.pipeline.cli.release_output import table
from crossrec.serving.experiments.analysis import Comparison, Judgement


def as_json(report: Report) -> str:
    """Write a report as one JSON object; what is not finite is null."""
    return json.dumps(_finite(dataclasses.asdict(report)), indent=2, allow_nan=False)


def as_text(report: Report) -> str:
    """Write a report for a terminal."""
    ratio = report.ratio
    rows = [
        [arm, f"{count:,}", f"{expected:,.0f}", _answers(report.answers.get(arm, {}))]
        for arm, count, expected in zip(report.arms, ratio.units, ratio.expected)
    ]
    lines = [f"experiment {report.experiment}", "", table(["arm", "units", "expected", "answered by"], rows)]
    if not report.refused:
        lines.append(f"The shares are as promised (always-valid p = {ratio.p_value:.2g}).")
    lines += [f"Note: {warning}." for warning in report.warnings]
    if report.judgement is None:
        lines += ["", f"NO VERDICT: {report.refused}."]
    else:
        lines += ["", *_judgement(report.judgement, report.waiting)]
    return "\n".join(lines)


def _judgement(judgement: Judgement, waiting: int) -> list[str]:
    looked_at = sum(judgement.units.values())
    plan = "" if judgement.planned_units is None else f" ({judgement.planned_units:,} were planned)"
    lines = [f"{looked_at:,} units have had their whole window{plan}; {waiting:,} wait for theirs."]
    head = ["metric", "arm", "control", "arm's", "lift", "at every look", "at one look", "p", "verdict"]
    rows = [_row(one) for one in judgement.comparisons]
    lines += ["", table(head, rows), ""]
    lines.append(
        f"Coverage of an interval of the lift: {judgement.always_valid_level:.2%} over all looks, or "
        f"{judgement.fixed_level:.2%} at one look. p is always valid."
    )
    if judgement.planned_units is None:
        lines.append("Verdicts come from the intervals that hold at every look: look as often as you like.")
    else:
        lines.append(
            "Verdicts come from the intervals that hold at every look, and from the first "
            f"{judgement.planned_units:,} units at one look when they are there."
        )
    return lines


def _row(one: Comparison) -> list[str]:
    verdict = one.verdict + (f" ({one.decided_by})" if one.decided_by else "")
    return [
        one.metric,
        one.arm,
        _number(one.control_mean),
        _number(one.mean),
        "-" if one.lift is None else f"{one.lift:+.2%}",
        _interval(one.always_valid_lift),
        _interval(one.fixed_lift),
        f"{one.p_value:.2g}",
        verdict,
    ]


def _number(value: float) -> str:
    return f"{value:.5g}" if math.isfinite(value) else "-"


def _interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:+.2%} to {ends[1]:+.2%}"


def _answers(answers: dict[str, int]) -> str:
    total = sum(answers.values())
    named = ((f"version {who}" if who.isdigit() else who, count) for who, count in answers.items())
    return ", ".join(f"{who} {count / total:.1%}" for who, count in named)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
