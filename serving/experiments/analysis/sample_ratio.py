"""Sample-ratio mismatch: whether the arms have the units that their shares promise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Concentrations of the Dirichlet priors: the small one sees a gross mismatch among few units, the large one a slight
# mismatch among many. The mean of two Bayes factors is one too.
_CONCENTRATIONS = (100.0, 10_000.0)


@dataclass(frozen=True)
class SampleRatio:
    """The test's result.

    Attributes:
        units: Units by arm.
        expected: Units by arm that the shares promise.
        p_value: Always valid: over all looks together it falls below a level with at most that probability.
        chi_square_p_value: Of Pearson's test, valid for a single look only.
    """

    units: tuple[int, ...]
    expected: tuple[float, ...]
    p_value: float
    chi_square_p_value: float


def sample_ratio(units: Sequence[int], shares: Sequence[float]) -> SampleRatio:
    """Test the numbers of units.

    The sequential multinomial test (Lindon and Malek 2022, Anytime-Valid Inference for Multinomial Count Data). For
    counts s, shares t and a Dirichlet prior with concentration k around t, the Bayes factor against the shares is
    ``B(k t + s) / B(k t) / prod(t^s)``, and one over it is an always-valid p-value.

    Args:
        units: Units by arm.
        shares: Share of each arm; they sum to 1.

    Returns:
        The test's result.

    Raises:
        ValueError: The lengths differ, or the shares do not sum to 1.
    """
    if len(units) != len(shares) or not math.isclose(math.fsum(shares), 1, abs_tol=1e-6):
        raise ValueError(f"shares={list(shares)}: give one share for each of {len(units)} arms, 1 in sum")
    total = sum(units)
    expected = tuple(total * share for share in shares)
    used = [(count, share) for count, share in zip(units, shares) if share > 0]
    if sum(count for count, _ in used) < total:
        return SampleRatio(tuple(units), expected, 0.0, 0.0)
    factors = [_log_bayes_factor(used, concentration) for concentration in _CONCENTRATIONS]
    largest = max(factors)
    log_mean = largest + math.log(sum(math.exp(one - largest) for one in factors) / len(factors))
    statistic = sum((count - total * share) ** 2 / (total * share) for count, share in used) if total else 0.0
    tail = chi_square_tail(statistic, len(used) - 1)
    return SampleRatio(tuple(units), expected, math.exp(min(0.0, -log_mean)), tail)


def _log_bayes_factor(used: Sequence[tuple[int, float]], concentration: float) -> float:
    total = sum(count for count, _ in used)
    result = math.lgamma(concentration) - math.lgamma(concentration + total)
    for count, share in used:
        prior = concentration * share
        result += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return result


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Probability that a chi-square variable is larger.

    A finite sum for whole degrees of freedom: with h = statistic / 2, the tail of d + 2 degrees is that of d plus
    ``h^(d/2) exp(-h) / Gamma(d/2 + 1)``.

    Args:
        statistic: The value, zero or more.
        degrees: Degrees of freedom, zero or more.

    Returns:
        The probability.
    """
    if statistic <= 0:
        return 1.0
    half = statistic / 2
    tail, done = (math.erfc(math.sqrt(half)), 1) if degrees % 2 else (0.0, 0)
    while done < degrees:
        tail += math.exp(0.5 * done * math.log(half) - half - math.lgamma(0.5 * done + 1))
        done += 2
    return min(tail, 1.0)
