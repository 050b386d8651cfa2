"""The analysis of an experiment, from its files to a report."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from crossrec.components.errors import DataError
from crossrec.components.features.frozen import Frozen
from crossrec.pipeline.cli.experiment_exposures import Exposures, Period, read_exposures
from crossrec.pipeline.cli.experiment_outcomes import (
    OutcomeFiles,
    Sums,
    Windows,
    metric_values,
    parse_metric,
    read_outcomes,
)
from crossrec.serving.experiments.analysis import Design, Judgement, SampleRatio, judge, sample_ratio

# Odds of refusing a sound experiment, over all looks together.
SAMPLE_RATIO_LEVEL = 0.01
# Share of units in several arms from which something is wrong with the assignment, not with single devices.
MIXED_LEVEL = 0.001


class Inputs(Frozen):
    """What is to be analysed; the names are those of the command's options.

    Attributes:
        exposures: Folder of exposure records.
        outcomes: Files of outcomes.
        metric: Metrics, see `parse_metric`.
        experiment: Name of the experiment; None where there is one only.
        control: Arm to compare with; None for the experiment's own.
        unit_column: Column of the outcomes that holds the unit.
        time_column: Column that holds the time.
        window: Seconds after the first exposure in which outcomes count.
        covariate: Column whose sum before the exposure explains variance.
        before: Seconds before the first exposure in which the covariate counts.
        planned_units: Units of all arms that were planned.
        alpha: Probability of a false verdict.
        begin: Unix seconds; earlier exposures are left out.
        until: Unix seconds up to which outcomes are complete; None for the last outcome.
    """

    exposures: str
    outcomes: tuple[str, ...]
    metric: tuple[str, ...]
    experiment: str | None = None
    control: str | None = None
    unit_column: str = "user_id"
    time_column: str = "timestamp"
    window: float = 86_400.0
    covariate: str | None = None
    before: float = 14 * 86_400.0
    planned_units: int | None = None
    alpha: float = 0.05
    begin: float | None = None
    until: float | None = None


@dataclass(frozen=True)
class Report:
    """What the analysis found.

    Attributes:
        experiment: Name of the experiment.
        arms: Names of the arms, the control first.
        ratio: Whether they have the units that their shares promise.
        refused: Why there is no verdict; empty where there is one.
        warnings: What a reader must know.
        answers: Records by arm and by who answered.
        waiting: Units whose window is still open, or whose exposure is later than the outcomes.
        judgement: The comparisons; None where a verdict is refused.
    """

    experiment: str
    arms: tuple[str, ...]
    ratio: SampleRatio
    refused: str
    warnings: tuple[str, ...]
    answers: dict[str, dict[str, int]]
    waiting: int
    judgement: Judgement | None


def analyse(inputs: Inputs) -> Report:
    """Analyse an experiment.

    Args:
        inputs: What is to be analysed.

    Returns:
        The report; without a judgement where the arms do not have the units that their shares promise.

    Raises:
        DataError: A file, column or option does not fit; the error says which.
    """
    metrics = [parse_metric(text) for text in inputs.metric]
    if len(set(inputs.metric)) < len(metrics):
        raise DataError("--metric", f"{', '.join(inputs.metric)} names one twice", "Give each once.")
    period = Period(-np.inf if inputs.begin is None else inputs.begin, np.inf if inputs.until is None else inputs.until)
    exposures = read_exposures(inputs.exposures, inputs.experiment, period)
    names, arm_of_unit, shares = _arms(exposures, inputs.control)
    ratio = sample_ratio(np.bincount(arm_of_unit, minlength=len(names)).tolist(), shares)
    notes = exposures.notes
    if ratio.p_value < SAMPLE_RATIO_LEVEL:
        refused = (
            "the arms do not have the units that their shares promise (always-valid p = "
            f"{ratio.p_value:.2g}). Units are lost or added in one arm only, so that a comparison would mislead. Look "
            "for records that one arm loses (crashes, timeouts, redirects), bots, or a change of the assignment"
        )
        warnings = tuple(_warnings(exposures, None))
        return Report(exposures.experiment, names, ratio, refused, warnings, notes.answers, 0, None)
    sums = Sums(exposures.keys, exposures.times, Windows(inputs.window, inputs.before))
    files = OutcomeFiles(inputs.outcomes, inputs.unit_column, inputs.time_column)
    read_outcomes(files, metrics, sums, inputs.covariate)
    if not sums.matched:
        raise DataError(
            "--outcomes",
            f"none of the {sums.rows:,} rows belongs to one of {len(exposures.keys):,} exposed units and its window",
            f"Check that column {inputs.unit_column!r} holds what the clients assign, and {inputs.time_column!r} the "
            "time.",
        )
    complete = sums.last if inputs.until is None else inputs.until
    mature = np.flatnonzero(exposures.times + inputs.window <= complete)
    positive = [place for place, share in enumerate(shares) if share > 0]
    design = Design(
        tuple(names[place] for place in positive),
        tuple(shares[place] for place in positive),
        inputs.alpha,
        inputs.planned_units,
    )
    judgement = judge(
        design,
        np.searchsorted(positive, arm_of_unit[mature]),
        [metric_values(metric, sums, mature, inputs.covariate) for metric in metrics],
    )
    waiting = len(exposures.keys) - len(mature)
    return Report(
        exposures.experiment, names, ratio, "", tuple(_warnings(exposures, sums)), notes.answers, waiting, judgement
    )


def _arms(exposures: Exposures, control: str | None) -> tuple[tuple[str, ...], Any, tuple[float, ...]]:
    names = list(exposures.shares)
    if control is not None:
        if control not in names:
            raise DataError("--control", f"{control!r} is no arm", f"The arms are {', '.join(names)}.")
        names.remove(control)
        names.insert(0, control)
    if sum(share > 0 for share in exposures.shares.values()) < 2 or not exposures.shares[names[0]] > 0:
        raise DataError("--control", f"{names[0]!r} has nothing to be compared with", "Two arms must have a share.")
    places = np.array([names.index(arm) for arm in exposures.shares])
    return tuple(names), places[exposures.arms], tuple(exposures.shares[name] for name in names)


def _warnings(exposures: Exposures, sums: Sums | None) -> list[str]:
    notes = exposures.notes
    found = []
    units = len(exposures.keys) + notes.mixed
    if notes.mixed > MIXED_LEVEL * units:
        found.append(
            f"{notes.mixed:,} of {units:,} units were seen in several arms and are left out; the assignment is not the "
            "same everywhere: compare the clients' versions and salts"
        )
    if notes.before:
        changes = ", ".join(
            f"{allocation.partition(';')[0]} ({count:,} records)" for allocation, count in notes.before.items()
        )
        found.append(f"only exposures under the last shares count; left out are those under {changes}")
    if notes.overlapping:
        found.append(
            f"{len(notes.overlapping)} former definition(s) were in use after the last one had begun: some client "
            "reads an old file, or the shares went to and fro; --from TIME leaves earlier exposures out"
        )
    if notes.dropped:
        found.append(f"the clients dropped {notes.dropped:,} records")
    if notes.cut or notes.unreadable:
        found.append(
            f"{notes.unreadable:,} lines are no records, and {notes.cut:,} files end in a cut line (both left out)"
        )
    for arm, answers in notes.answers.items():
        begins = notes.begins[arm]
        versions = sorted((who for who in answers if who.isdigit() and who != "0"), key=lambda who: begins[who])
        if len(versions) > 1:
            begin = datetime.fromtimestamp(begins[versions[-1]], timezone.utc).isoformat(timespec="seconds")
            found.append(
                f"arm {arm} was served by versions {', '.join(versions)}, one after the other; --from {begin} leaves "
                "out what was before the last one"
            )
        failed = sum(count for who, count in answers.items() if who not in versions)
        if failed > MIXED_LEVEL * sum(answers.values()):
            found.append(f"{failed:,} of {sum(answers.values()):,} requests of arm {arm} got no answer of a model")
    if sums is not None:
        found += [f"column {name}: {count:,} missing values count as 0" for name, count in sums.missing.items()]
    return found
