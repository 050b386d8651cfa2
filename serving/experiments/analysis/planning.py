"""How many units an experiment needs, and what it can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from crossrec.serving.experiments.analysis.levels import levels


@dataclass(frozen=True)
class Plan:
    """What is known before an experiment.

    Attributes:
        mean: The metric's mean in the control, above zero.
        deviation: Standard deviation of one unit's value; None for a rate of 0 and 1, where the mean gives it.
        control_share: Share of all units in the control.
        treatment_share: Share in the treatment that is looked at.
        alpha: Probability of a false verdict, over all comparisons and looks.
        power: Probability of a verdict at the planned look, where the lift is real.
        comparisons: Arms beside the control times metrics.

    Raises:
        ValueError: A number is out of its range.
    """

    mean: float
    deviation: float | None = None
    control_share: float = 0.5
    treatment_share: float = 0.5
    alpha: float = 0.05
    power: float = 0.8
    comparisons: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.mean < math.inf or (self.deviation is None and self.mean >= 1):
            raise ValueError(f"mean={self.mean}: give a rate between 0 and 1, or a mean above 0 with its deviation")
        if self.deviation is not None and not 0 < self.deviation < math.inf:
            raise ValueError(f"deviation={self.deviation}: give a number above 0")
        for name in ("control_share", "treatment_share", "alpha", "power"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: give a number between 0 and 1")
        if self.control_share + self.treatment_share > 1 + 1e-9:
            raise ValueError(f"treatment_share={self.treatment_share}: the shares exceed 1 together; lower one")
        if self.comparisons < 1:
            raise ValueError(f"comparisons={self.comparisons}: give 1 or more")


def units_needed(plan: Plan, lift: float) -> int:
    """Units over all arms that show a lift at the planned look.

    ``n = (z_alpha + z_power)^2 (s_c^2 / share_c + s_t^2 / share_t) / (lift mean)^2``, with the alpha of the planned
    look, see `levels`.

    Args:
        plan: What is known.
        lift: The relative lift that is to be found, such as 0.02.

    Returns:
        The number of units.

    Raises:
        ValueError: The lift is zero, or takes a rate out of 0 to 1.
    """
    mean = plan.mean * (1 + lift)
    if lift == 0 or not math.isfinite(lift) or mean <= 0 or (plan.deviation is None and mean >= 1):
        raise ValueError(f"lift={lift}: give a lift such as 0.02 that leaves a mean that can be")
    variance = _variance(plan, plan.mean) / plan.control_share + _variance(plan, mean) / plan.treatment_share
    return math.ceil(_quantiles(plan) ** 2 * variance / (lift * plan.mean) ** 2)


def detectable_lift(plan: Plan, units: int) -> float:
    """Smallest relative lift that so many units show at the planned look.

    Args:
        plan: What is known.
        units: Units over all arms.

    Returns:
        The lift, above zero; both arms' variance taken to be the control's.

    Raises:
        ValueError: The number is below 2.
    """
    if units < 2:
        raise ValueError(f"units={units}: give 2 or more")
    variance = _variance(plan, plan.mean) * (1 / plan.control_share + 1 / plan.treatment_share)
    return _quantiles(plan) * math.sqrt(variance / units) / plan.mean


def _variance(plan: Plan, mean: float) -> float:
    return mean * (1 - mean) if plan.deviation is None else plan.deviation**2


def _quantiles(plan: Plan) -> float:
    normal = NormalDist()
    return normal.inv_cdf(1 - levels(plan.alpha, plan.comparisons, True).planned / 2) + normal.inv_cdf(plan.power)
