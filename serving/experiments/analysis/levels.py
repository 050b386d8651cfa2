"""How the probability of a false verdict is shared out."""

from __future__ import annotations

from typing import NamedTuple

_EARLY = 0.1


class Levels(NamedTuple):
    """Levels of one comparison.

    Attributes:
        any_look: Of the always-valid test, over all looks together.
        planned: Of the fixed-horizon test at the planned number of units.
    """

    any_look: float
    planned: float


def levels(alpha: float, comparisons: int, planned: bool) -> Levels:
    """Share out alpha between comparisons, and between looks.

    Every comparison gets an equal part (Bonferroni), so that all intervals hold together. Where a number of
    units was planned, a tenth of that is for stopping before and the rest for the one look at that number, as in
    Haybittle (1971, Repeated Assessment of Results in Clinical Trials of Cancer Treatment); the two sum to the part.

    Args:
        alpha: Probability of a false verdict in all.
        comparisons: Arms beside the control times metrics.
        planned: Whether a number of units was planned.

    Returns:
        The levels; without a plan the fixed-horizon level is for show and decides nothing.
    """
    part = alpha / comparisons
    return Levels(part * _EARLY, part * (1 - _EARLY)) if planned else Levels(part, part)
