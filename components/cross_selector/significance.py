"""How sure a gain is: standard errors by user, and control of false discoveries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossrec.components.cross_selector.data import Array


@dataclass(frozen=True)
class Gain:
    """A mean gain in log loss per row.

    Attributes:
        mean: Nats per row; positive is better.
        error: Its standard error.
        clusters: Users that it rests on.
    """

    mean: float
    error: float
    clusters: int

    @property
    def score(self) -> float:
        """The gain in standard errors as a normal score; 0 without any variation."""
        if self.error <= 0:
            return 0.0
        return normal_score(self.mean / self.error, self.clusters - 1)

    @property
    def p_value(self) -> float:
        """Probability of such a gain or a larger one if there were none."""
        return 0.5 * math.erfc(self.score / math.sqrt(2.0))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The confidence interval of the mean."""
        half = student_quantile(0.5 + level / 2, self.clusters - 1) * self.error
        return self.mean - half, self.mean + half


def clustered(sums: Array, sizes: Array, rows: int) -> Gain:
    r"""The mean of row-wise differences that are alike within a user.

    With :math:`s_u` the sum and :math:`n_u` the rows of user :math:`u`, the variance of the ratio
    :math:`g = \sum_u s_u / \sum_u n_u` is :math:`\frac{U}{U-1} \sum_u (s_u - g n_u)^2 / n^2` (Cochran, 1977,
    "Sampling Techniques", chapter 9).

    Args:
        sums: Sum of differences by user, ``[U]``.
        sizes: Rows by user, ``[U]``.
        rows: All rows n.
    """
    present = sizes > 0
    sums, sizes, count = sums[present], sizes[present], int(present.sum())
    mean = float(sums.sum()) / max(rows, 1)
    if count < 2:
        return Gain(mean, math.inf, count)
    variance = count / (count - 1) * float(np.sum((sums - mean * sizes) ** 2)) / rows**2
    return Gain(mean, math.sqrt(variance), count)


def normal_score(t: float, freedom: int) -> float:
    """The normal score of a value of Student's t (Wallace, 1959, "Bounds on normal approximations to Student's t")."""
    if freedom < 1:
        return 0.0
    scale = (8 * freedom + 1) / (8 * freedom + 3)
    return math.copysign(scale * math.sqrt(freedom * math.log1p(t * t / freedom)), t)


def student_quantile(probability: float, freedom: int) -> float:
    """A quantile of Student's t above the median, the inverse of :func:`normal_score`."""
    from statistics import NormalDist

    if freedom < 1:
        return math.inf
    z = NormalDist().inv_cdf(probability) * (8 * freedom + 3) / (8 * freedom + 1)
    return math.sqrt(freedom * math.expm1(z * z / freedom))


def least_score(hypotheses: int, level: float) -> float:
    """The normal score that one of so many hypotheses must reach (Bonferroni)."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(1.0 - level / max(hypotheses, 1))


def combined(first: Gain, second: Gain) -> float:
    """The p-value of two gains on different rows together (Stouffer et al., 1949, "The American Soldier")."""
    return 0.5 * math.erfc((first.score + second.score) / 2.0)


def discoveries(p_values: Sequence[float], rate: float, hypotheses: int = 0) -> list[bool]:
    """Which hypotheses are discoveries at a false discovery rate (Benjamini, Hochberg 1995).

    Args:
        p_values: One per hypothesis.
        rate: The share of false ones among the discoveries that is allowed on average.
        hypotheses: How many there were in all, if these are the best of more.
    """
    order = np.argsort(np.asarray(p_values), kind="stable")
    total = max(hypotheses, len(order))
    passed = [rank for rank, at in enumerate(order, 1) if p_values[at] <= rate * rank / total]
    chosen = set(order[: max(passed, default=0)].tolist())
    return [at in chosen for at in range(len(p_values))]
