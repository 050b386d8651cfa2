"""From the values of units to the estimate of each arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Array = Any  # np.ndarray, whose type parameters differ between the versions of numpy that this supports


class Estimate(NamedTuple):
    """A metric in one arm.

    Attributes:
        units: Units of the arm.
        mean: The metric: a mean over units, or a ratio of two means.
        variance: Variance of one unit's contribution; over `units` it is the mean's squared standard error.
        lowest: Units that have the lowest value of all arms.
        highest: Units that have the highest.
    """

    units: int
    mean: float
    variance: float
    lowest: int
    highest: int


@dataclass(frozen=True)
class MetricValues:
    """One metric, unit by unit.

    Attributes:
        name: Name of the metric.
        values: float [units], such as clicks or revenue; zero where a unit has none.
        denominators: float [units] where the metric is a ratio, such as impressions: sum of values over sum of these.
        covariate: float [units], known before the exposure, such as last month's clicks: takes the part of the
            variance away that it explains.

    Raises:
        ValueError: Lengths differ, a number is not finite, or a ratio has a covariate.
    """

    name: str
    values: Array
    denominators: Array | None = None
    covariate: Array | None = None

    def __post_init__(self) -> None:
        if self.denominators is not None and self.covariate is not None:
            raise ValueError(f"{self.name}: a ratio takes no covariate; leave out one of them")
        for part in ("values", "denominators", "covariate"):
            array = getattr(self, part)
            if array is None:
                continue
            if array.shape != self.values.shape:
                raise ValueError(
                    f"{self.name}.{part}: shape {array.shape} is not {self.values.shape}; give one per unit"
                )
            if not np.isfinite(array).all():
                raise ValueError(f"{self.name}.{part}: holds a number that is not finite; mend or leave out that row")

    def first(self, count: int) -> MetricValues:
        """Return the same for the first units only.

        Args:
            count: How many.
        """
        return MetricValues(
            self.name,
            self.values[:count],
            None if self.denominators is None else self.denominators[:count],
            None if self.covariate is None else self.covariate[:count],
        )


def estimates(metric: MetricValues, arm_of_unit: Array, arms: int) -> tuple[Estimate, ...]:
    """Estimate a metric in each arm.

    A covariate x adjusts the values to ``y - theta (x - mean(x))`` with theta = cov(x, y) / var(x) within arms (CUPED;
    Deng, Xu, Kohavi and Walker 2013, Improving the Sensitivity of Online Controlled Experiments by Utilizing
    Pre-Experiment Data). The variance of a ratio R = mean(y) / mean(z) is that of ``(y - R z) / mean(z)`` (delta
    method; Deng, Knoblich and Lu 2018, Applying the Delta Method in Metric Analytics).

    Args:
        metric: The values.
        arm_of_unit: int [units], number of each unit's arm.
        arms: How many arms there are.

    Returns:
        An estimate per arm; mean and variance are NaN where there is nothing to compute them from.
    """
    values = metric.values
    if metric.covariate is not None:
        values = _adjusted(values, metric.covariate, arm_of_unit, arms)
    ends = (metric.values.min(), metric.values.max()) if len(values) else (0.0, 0.0)
    return tuple(_estimate(metric, values, arm_of_unit == arm, ends) for arm in range(arms))


def _adjusted(values: Array, covariate: Array, arm_of_unit: Array, arms: int) -> Array:
    counts = np.maximum(np.bincount(arm_of_unit, minlength=arms), 1)

    def centred(array: Array) -> Array:
        return array - (np.bincount(arm_of_unit, array, arms) / counts)[arm_of_unit]

    within = centred(covariate)
    spread = float(within @ within)
    if spread == 0:
        return values
    theta = float(within @ centred(values)) / spread
    return values - theta * (covariate - covariate.mean())


def _estimate(metric: MetricValues, values: Array, chosen: Array, ends: tuple[float, float]) -> Estimate:
    own = values[chosen]
    units = len(own)
    lowest, highest = (int(np.count_nonzero(metric.values[chosen] == end)) for end in ends)
    mean = variance = float("nan")
    if units > 1 and metric.denominators is None:
        mean, variance = float(own.mean()), float(own.var(ddof=1))
    elif units > 1 and metric.denominators is not None:
        below = metric.denominators[chosen]
        if below.sum() > 0:
            mean = float(own.sum() / below.sum())
            variance = float(((own - mean * below) / below.mean()).var(ddof=1))
    return Estimate(units, mean, variance, lowest, highest)
