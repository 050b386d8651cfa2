"""The difference between two arms, and the ratio of their means, with intervals."""

from __future__ import annotations

import math
from typing import NamedTuple

from crossrec.serving.experiments.analysis.moments import Estimate

Interval = tuple[float, float]


class Contrast(NamedTuple):
    """Two arms side by side.

    Attributes:
        control: Mean of the control.
        treatment: Mean of the treatment.
        control_variance: Squared standard error of the control's mean.
        treatment_variance: The same of the treatment's.
        units: Units of both.
    """

    control: float
    treatment: float
    control_variance: float
    treatment_variance: float
    units: int

    @property
    def difference(self) -> float:
        """Treatment minus control."""
        return self.treatment - self.control

    @property
    def lift(self) -> float | None:
        """Relative difference; None where the control's mean is not above zero."""
        return self.difference / self.control if self.control > 0 else None

    @property
    def z(self) -> float:
        """Difference over its standard error."""
        error = math.sqrt(self.control_variance + self.treatment_variance)
        if error == 0:
            return math.copysign(math.inf, self.difference) if self.difference else 0.0
        return self.difference / error

    def difference_interval(self, width: float) -> Interval:
        """Interval of the difference.

        Args:
            width: Half width in standard errors.

        Returns:
            Its ends.
        """
        half = width * math.sqrt(self.control_variance + self.treatment_variance)
        return self.difference - half, self.difference + half

    def lift_interval(self, width: float) -> Interval | None:
        """Interval of the lift: every l for which ``treatment = (1 + l) control`` is not refuted.

        That is Fieller's interval (1954, Some Problems in Interval Estimation). For many units it is the delta
        method's; unlike that it holds zero exactly when the interval of the difference does.

        Args:
            width: Half width in standard errors.

        Returns:
            Its ends; None where the control's mean is not above zero by that many standard errors.
        """
        square = width * width
        a = self.control**2 - square * self.control_variance
        if self.control <= 0 or a <= 0:
            return None
        b = self.treatment * self.control
        half = width * math.sqrt(
            self.treatment**2 * self.control_variance
            + self.control**2 * self.treatment_variance
            - square * self.control_variance * self.treatment_variance
        )
        return (b - half) / a - 1, (b + half) / a - 1


def contrast(control: Estimate, treatment: Estimate) -> Contrast:
    """Put two arms side by side.

    No arm's variance is taken to be below that of both arms pooled: a small arm that happens to hold no event
    has a variance of zero, which would make any difference look certain.

    Args:
        control: Estimate of the control.
        treatment: Estimate of the treatment; at least two units in both.

    Returns:
        Both, with the squared standard errors of their means.
    """
    free = control.units + treatment.units - 2
    pooled = ((control.units - 1) * control.variance + (treatment.units - 1) * treatment.variance) / free
    return Contrast(
        control.mean,
        treatment.mean,
        max(control.variance, pooled) / control.units,
        max(treatment.variance, pooled) / treatment.units,
        control.units + treatment.units,
    )
