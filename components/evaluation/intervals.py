"""How sure a measured mean, AUC or difference is."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossrec.components.evaluation.classification_metrics import auc, placements


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
      mean: The estimate.
      low: Lower end.
      high: Upper end.
      count: Number of values that it was made of.
    """

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class PairedComparison:
    """Two systems measured on the same queries.

    Attributes:
      difference: Mean of candidate minus baseline.
      low: Lower end of its confidence interval.
      high: Upper end.
      p_value: Two-sided probability of a difference this large if there were none.
      count: Number of queries that both have a value for.
      wins: Queries on which the candidate is better.
      losses: Queries on which it is worse.
    """

    difference: float
    low: float
    high: float
    p_value: float
    count: int
    wins: int
    losses: int


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Compute the mean over queries with its normal confidence interval.

    Args:
      values: [Q], one value per query; NaN is left out.
      level: Coverage, between 0 and 1.

    Returns:
      Mean and interval.

    Raises:
      ValueError: If fewer than two values remain, or the level is out of range.
    """
    present = _present(values)
    half = _quantile(level) * float(present.std(ddof=1)) / math.sqrt(len(present))
    mean = float(present.mean())
    return Interval(mean, mean - half, mean + half, len(present))


def bootstrap_interval(values: ArrayLike, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> Interval:
    """Compute the mean over queries with its percentile bootstrap interval; for skewed values or few queries.

    Args:
      values: [Q], one value per query; NaN is left out.
      level: Coverage, between 0 and 1.
      resamples: Number of samples drawn with replacement.
      seed: Seed of the draws.

    Returns:
      Mean and interval.

    Raises:
      ValueError: If fewer than two values remain, or the level is out of range.
    """
    present = _present(values)
    _quantile(level)
    generator = np.random.default_rng(seed)
    count = len(present)
    # One resample at a time: a matrix of all of them does not fit for a million queries.
    means = [present[generator.integers(count, size=count)].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(present.mean()), float(low), float(high), count)


def auc_interval(labels: ArrayLike, scores: ArrayLike, level: float = 0.95) -> Interval:
    """Compute the AUC with its normal confidence interval.

    DeLong, DeLong and Clarke-Pearson 1988, Comparing the areas under two or more correlated receiver
    operating characteristic curves. The interval is cut to 0 and 1.

    Args:
      labels: [N], 0 or 1, at least two of each.
      scores: [N], no NaN.
      level: Coverage, between 0 and 1.

    Returns:
      AUC and interval.

    Raises:
      ValueError: As ``auc``, or if a class has only one example.
    """
    area = auc(labels, scores)
    label = np.asarray(labels).astype(bool)
    smaller = int(min(label.sum(), (~label).sum()))
    if smaller < 2:
        raise ValueError(f"labels: a class has {smaller} example; an interval needs at least two of each class")
    of_positives, of_negatives = placements(label, np.asarray(scores, dtype=np.float64))
    variance = of_positives.var(ddof=1) / len(of_positives) + of_negatives.var(ddof=1) / len(of_negatives)
    half = _quantile(level) * math.sqrt(float(variance))
    return Interval(area, max(0.0, area - half), min(1.0, area + half), len(label))


def compare_paired(baseline: ArrayLike, candidate: ArrayLike, level: float = 0.95) -> PairedComparison:
    """Compare two systems on the same queries; far sharper than comparing two separate intervals.

    Args:
      baseline: [Q], one value per query.
      candidate: [Q], for the same queries in the same order. Where either is NaN, the query is left out.
      level: Coverage of the interval, between 0 and 1.

    Returns:
      Mean difference, its normal interval and test, and wins and losses.

    Raises:
      ValueError: If shapes differ, fewer than two queries remain, or the level is out of range.
    """
    before, after = np.asarray(baseline, np.float64), np.asarray(candidate, np.float64)
    if before.shape != after.shape:
        raise ValueError(
            f"baseline and candidate: shapes {before.shape} and {after.shape}; give values of the same queries"
        )
    difference = _present(after - before)
    mean = float(difference.mean())
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    half = _quantile(level) * error
    p_value = math.erfc(abs(mean) / error / math.sqrt(2)) if error > 0 else 1.0 if mean == 0 else 0.0
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    return PairedComparison(mean, mean - half, mean + half, p_value, len(difference), wins, losses)


def _present(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    present = array[~np.isnan(array)]
    if len(present) < 2:
        raise ValueError(
            f"values: {len(present)} of {array.size} are numbers; an interval needs at least two queries "
            "with "
            "relevant items"
        )
    return present


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level: {level}; give a coverage between 0 and 1, such as 0.95")
    return statistics.NormalDist().inv_cdf((1 + level) / 2)
