"""Intervals and p-values that stay valid however often, and whenever, one looks.

The confidence sequence of Robbins' normal mixture in its asymptotic form (Waudby-Smith, Arbour, Sinha, Kennedy and
Ramdas 2024, Time-uniform Central Limit Theory and Asymptotic Confidence Sequences; Howard, Ramdas, McAuliffe and
Sekhon 2021, Time-uniform, Nonparametric, Nonasymptotic Confidence Sequences). Its p-value is that of the mixture
sequential probability ratio test (Johari, Koomen, Pekelis and Walsh 2022, Always Valid Inference). With n units, z the
estimate over its standard error, and rho fixed beforehand:

    half width in standard errors: sqrt(2 (n rho^2 + 1) / (n rho^2) ln(sqrt(n rho^2 + 1) / alpha))
    p = min(1, sqrt(n rho^2 + 1) exp(-z^2 / 2 n rho^2 / (n rho^2 + 1)))
"""

from __future__ import annotations

import math


def mixing_precision(alpha: float, units: float) -> float:
    """Choose rho squared so that the interval is narrowest at a number of units.

    Any choice is valid that does not depend on the data.

    Args:
        alpha: One minus the coverage.
        units: The number of units at which a decision is expected.

    Returns:
        rho squared.
    """
    log = -2 * math.log(alpha)
    return (log + math.log1p(log)) / units


def width(alpha: float, units: int, precision: float) -> float:
    """Half width of the always-valid interval.

    Args:
        alpha: One minus the coverage, over all looks together.
        units: Units now.
        precision: rho squared.

    Returns:
        Half width in standard errors.
    """
    scaled = units * precision
    return math.sqrt(2 * (scaled + 1) / scaled * (0.5 * math.log1p(scaled) - math.log(alpha)))


def p_value(z: float, units: int, precision: float) -> float:
    """Always-valid p-value: over all looks, it falls below alpha with probability alpha at most.

    Args:
        z: The estimate over its standard error.
        units: Units now.
        precision: rho squared.

    Returns:
        A number in [0, 1].
    """
    scaled = units * precision
    return math.exp(min(0.0, 0.5 * math.log1p(scaled) - 0.5 * z * z * scaled / (scaled + 1)))
