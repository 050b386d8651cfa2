"""From units, arms and metrics to a judgement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from crossrec.serving.experiments.analysis import always_valid
from crossrec.serving.experiments.analysis.contrast import Interval, contrast
from crossrec.serving.experiments.analysis.levels import Levels, levels
from crossrec.serving.experiments.analysis.moments import Array, Estimate, MetricValues, estimates

HIGHER, LOWER, UNDECIDED, NOTHING_FOUND, TOO_FEW = "higher", "lower", "undecided", "no difference found", "too few"
# Below these the normal approximation does not hold, as simulated experiments show.
_MINIMUM_UNITS = 50
_MINIMUM_EVENTS = 10
_USUAL_UNITS = 10_000


@dataclass(frozen=True)
class Design:
    """What was fixed before the experiment.

    Attributes:
        arms: Names of the arms, the control first.
        shares: Share of all units that each arm gets.
        alpha: Probability of a false verdict, over all comparisons and looks.
        planned_units: Units over all arms at which it is to be decided; None for a decision whenever there is one. The
            always-valid intervals are narrowest, for what they promise, at that number; at 10,000 without one.

    Raises:
        ValueError: There are fewer than two arms, or a number is out of its range.
    """

    arms: tuple[str, ...]
    shares: tuple[float, ...]
    alpha: float = 0.05
    planned_units: int | None = None

    def __post_init__(self) -> None:
        if len(self.arms) < 2:
            raise ValueError(f"arms={self.arms}: give the control and at least one other")
        if len(self.shares) != len(self.arms) or not all(share > 0 for share in self.shares):
            raise ValueError(f"shares={self.shares}: give a number above 0 for each of {len(self.arms)} arms")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha={self.alpha}: give a number between 0 and 1, such as 0.05")
        if self.planned_units is not None and self.planned_units < 2 * _MINIMUM_UNITS:
            raise ValueError(f"planned_units={self.planned_units}: give at least {2 * _MINIMUM_UNITS}")


@dataclass(frozen=True)
class Comparison:
    """One metric of one arm against the control.

    Attributes:
        metric: Name of the metric.
        arm: The arm.
        control_mean: Mean of the control.
        mean: Mean of the arm.
        difference: Arm minus control.
        lift: Relative difference; None where the control's mean is not above zero.
        always_valid: Interval of the difference that holds at every look together.
        always_valid_lift: The same of the lift; None where there is none.
        fixed: Interval of the difference for a single look.
        fixed_lift: The same of the lift.
        p_value: Always-valid p-value of no difference, before the correction for several comparisons.
        verdict: higher, lower, undecided, no difference found (the planned look is over), or too few.
        decided_by: "any look", "planned look", or empty.
    """

    metric: str
    arm: str
    control_mean: float
    mean: float
    difference: float
    lift: float | None
    always_valid: Interval
    always_valid_lift: Interval | None
    fixed: Interval
    fixed_lift: Interval | None
    p_value: float
    verdict: str
    decided_by: str = ""


@dataclass(frozen=True)
class Judgement:
    """All comparisons.

    Attributes:
        units: Units by arm that were looked at.
        planned_units: As in the design.
        always_valid_level: Coverage of each always-valid interval.
        fixed_level: Coverage of each fixed-horizon interval.
        comparisons: Metric by metric, arm by arm.
    """

    units: dict[str, int]
    planned_units: int | None
    always_valid_level: float
    fixed_level: float
    comparisons: tuple[Comparison, ...]


def judge(design: Design, arm_of_unit: Array, metrics: Sequence[MetricValues]) -> Judgement:
    """Compare every arm with the control.

    A verdict comes from the always-valid interval, so that it may be looked at as often as one likes. Where a number of
    units was planned, the fixed-horizon interval of the first so many units gives one too, and only of these: so
    there is a single such look, whenever the command runs. See `levels` for how alpha is shared.

    Args:
        design: What was fixed before.
        arm_of_unit: int [units], number of each unit's arm, in the order of first exposure. Every unit's outcome is
            final: those whose attribution window is still open are left out.
        metrics: Their values.

    Returns:
        The judgement.

    Raises:
        ValueError: A metric has another number of units.
    """
    arms = len(design.arms)
    level = levels(design.alpha, (arms - 1) * len(metrics), design.planned_units is not None)
    counts = np.bincount(arm_of_unit, minlength=arms)
    comparisons = []
    for metric in metrics:
        if len(metric.values) != len(arm_of_unit):
            raise ValueError(f"{metric.name}: {len(metric.values)} values for {len(arm_of_unit)} units; give one each")
        now = estimates(metric, arm_of_unit, arms)
        planned: Sequence[Estimate] | None = None
        if design.planned_units is not None and len(arm_of_unit) >= design.planned_units:
            planned = estimates(metric.first(design.planned_units), arm_of_unit[: design.planned_units], arms)
        for arm in range(1, arms):
            # From the design alone: a choice that followed the data would not allow for looking at any time.
            tuned_for = (design.planned_units or _USUAL_UNITS) * (design.shares[0] + design.shares[arm])
            precision = always_valid.mixing_precision(level.any_look, tuned_for)
            comparisons.append(
                _compare(
                    (metric.name, design.arms[arm]),
                    (now[0], now[arm]),
                    None if planned is None else (planned[0], planned[arm]),
                    level,
                    precision,
                )
            )
    units = dict(zip(design.arms, counts.tolist()))
    return Judgement(units, design.planned_units, 1 - level.any_look, 1 - level.planned, tuple(comparisons))


def _compare(
    names: tuple[str, str],
    now: tuple[Estimate, Estimate],
    planned: tuple[Estimate, Estimate] | None,
    level: Levels,
    precision: float,
) -> Comparison:
    if not all(one.units > 1 and math.isfinite(one.mean) for one in now):
        nan = float("nan")
        nothing = (-math.inf, math.inf)
        return Comparison(*names, now[0].mean, now[1].mean, nan, None, nothing, None, nothing, None, 1.0, TOO_FEW)
    seen = contrast(*now)
    width = always_valid.width(level.any_look, seen.units, precision)
    single = NormalDist().inv_cdf(1 - level.planned / 2)
    once = seen if planned is None or not _enough(planned) else contrast(*planned)
    interval, fixed = seen.difference_interval(width), once.difference_interval(single)
    verdict, decided_by = TOO_FEW, ""
    if _enough(now):
        verdict, decided_by = _verdict(interval), "any look"
        if verdict == UNDECIDED and planned is not None and _enough(planned):
            verdict, decided_by = _verdict(fixed), "planned look"
            if verdict == UNDECIDED:
                verdict = NOTHING_FOUND
    return Comparison(
        *names,
        control_mean=seen.control,
        mean=seen.treatment,
        difference=seen.difference,
        lift=seen.lift,
        always_valid=interval,
        always_valid_lift=seen.lift_interval(width),
        fixed=fixed,
        fixed_lift=once.lift_interval(single),
        p_value=always_valid.p_value(seen.z, seen.units, precision),
        verdict=verdict,
        decided_by="" if verdict == UNDECIDED else decided_by,
    )


def _verdict(interval: Interval) -> str:
    if interval[0] > 0:
        return HIGHER
    return LOWER if interval[1] < 0 else UNDECIDED


def _enough(pair: tuple[Estimate, Estimate]) -> bool:
    units = sum(one.units for one in pair)
    # Of a rate, the rarer one of its two outcomes.
    events = units - max(sum(one.lowest for one in pair), sum(one.highest for one in pair))
    smaller = min(one.units for one in pair)
    return smaller >= _MINIMUM_UNITS and smaller * events >= _MINIMUM_EVENTS * units
