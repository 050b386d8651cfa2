"""The field-wise logistic model: one weight table per field, fitted exactly from sums by id.

The logit of a row is an intercept plus, for every field, the mean of the field's weights over the row's ids. Each table
has a normal prior whose variance is found by maximising the marginal likelihood (empirical Bayes: MacKay, 1992,
"Bayesian Interpolation"), so that a field without signal gets no weights at all. With everything else held fixed
(field-wise logistic regression: Luo et al., 2019, "AutoCross"), the weights of one more field separate by id: sums of
gradients and Hessians by id are all that is needed, and no step size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from crossrec.components.cross_selector.data import Array, Task
from crossrec.components.cross_selector.fields import AnyField, add_logits, sums

_VARIANCES = np.exp(np.linspace(np.log(1e-4), np.log(10.0), 24))
_LEAST_EVIDENCE = 1.0
_LARGEST_STEP = 1.0


def sigmoid(logits: Array) -> Array:
    """1 / (1 + exp(-logits)); no warning for extreme ones."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def log_loss(labels: Array, logits: Array) -> Array:
    """The log loss of each row, in nats."""
    return np.asarray(np.maximum(logits, 0.0) - labels * logits + np.log1p(np.exp(-np.abs(logits))))


def prior_variance(gradient: Array, hessian: Array) -> tuple[float, float]:
    r"""The variance of a field's weights that makes the data most likely.

    With weights :math:`w_i \sim N(0, v)` and the log likelihood quadratic around 0 with gradient :math:`g_i` and
    Hessian :math:`h_i`, the log evidence over that of no weights is
    :math:`\sum_i \frac12 \left[ v g_i^2 / (1 + v h_i) - \log(1 + v h_i) \right]`.

    Args:
        gradient: float64 ``[size]``.
        hessian: float64 ``[size]``, not negative.

    Returns:
        The variance, and its log evidence in nats; zeros if the evidence is below 1 nat.
    """
    used = hessian > 0
    g, h = gradient[used], hessian[used]
    if not len(h):
        return 0.0, 0.0
    evidence = [0.5 * float(np.sum(v * g * g / (1.0 + v * h) - np.log1p(v * h))) for v in _VARIANCES]
    best = int(np.argmax(evidence))
    return (float(_VARIANCES[best]), evidence[best]) if evidence[best] > _LEAST_EVIDENCE else (0.0, 0.0)


def solve(count: Array, gradient: Array, hessian: Array, variance: float, steps: int = 4) -> Array:
    r"""The weights of one more field, all else fixed.

    A quadratic around 0 overshoots where a label is rare. So each id is taken as ``count`` rows of one
    probability :math:`p`, which the mean Hessian :math:`p (1 - p)` gives, and Newton's method solves
    :math:`c\,(\sigma(\mathrm{logit}(p) + w) - p) + w / v = g`.

    Args:
        count: Rows by id.
        gradient: Sum of label minus probability by id.
        hessian: Sum of probability times its complement by id.
        variance: Of the prior; 0 gives no weights.
        steps: Newton steps.

    Returns:
        float64 ``[size]``.
    """
    if variance <= 0:
        return np.zeros_like(gradient)
    slope = np.minimum(hessian / np.maximum(count, 1e-9), 0.25)
    rate = np.clip(0.5 * (1.0 - np.sqrt(1.0 - 4.0 * slope)), 1e-6, 0.5)
    base = np.log(rate / (1.0 - rate))
    weights = np.zeros_like(gradient)
    for _ in range(steps):
        now = sigmoid(base + weights)
        step = (gradient - count * (now - rate) - weights / variance) / (count * now * (1.0 - now) + 1.0 / variance)
        weights += np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
    return weights


@dataclass
class Fitted:
    """One field's table."""

    field: AnyField
    table: Array
    variance: float


@dataclass
class Model:
    """The fields chosen so far, on one task.

    Attributes:
        task: The task.
        fitted: Number of rows, from the first, that tables are fitted on.
        min_count: Rows that an id must have to get a weight.
        logits: float64 ``[n]`` of all rows.
        fields: The tables, by the fields' keys.
    """

    task: Task
    fitted: int
    min_count: float
    logits: Array = field(init=False)
    fields: dict[str, Fitted] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Starts at the overall rate."""
        rate = float(np.clip(self.task.labels[: self.fitted].mean(), 1e-6, 1 - 1e-6))
        self.logits = np.full(len(self.task.labels), np.log(rate / (1.0 - rate)))
        self._refresh()

    def _refresh(self) -> None:
        now = sigmoid(self.logits[: self.fitted])
        self.residual = self.task.labels[: self.fitted] - now
        self.curvature = now * (1.0 - now)

    def add(self, new: AnyField) -> None:
        """Adds a field with a table of zeros."""
        self.fields[new.key] = Fitted(new, np.zeros(new.size), 0.0)

    def remove(self, key: str) -> None:
        """Takes a field out."""
        gone = self.fields.pop(key)
        self._shift(gone.field, -gone.table)

    def sweep(self, keys: list[str] | None = None) -> None:
        """Updates the tables one after another, each with all others fixed (backfitting: Hastie, Tibshirani 1987)."""
        for key in keys or list(self.fields):
            self._update(self.fields[key])

    def _update(self, one: Fitted) -> None:
        rows = slice(0, self.fitted)
        found = sums(one.field, self.task.columns, rows, self.residual, self.curvature)
        known = found.rows >= self.min_count
        # Around the present table: the gradient that a table of zeros would see.
        one.variance, _ = prior_variance(
            np.where(known, found.gradient + found.hessian * one.table, 0.0), np.where(known, found.hessian, 0.0)
        )
        if one.variance > 0:
            step = (found.gradient - one.table / one.variance) / (found.bound + 1.0 / one.variance)
            table = np.where(known, one.table + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP), 0.0)
        else:
            table = np.zeros_like(one.table)
        self._shift(one.field, table - one.table)
        one.table = table

    def _shift(self, which: AnyField, change: Array) -> None:
        if np.any(change):
            add_logits(which, self.task.columns, slice(0, len(self.logits)), change, self.logits)
            self._refresh()
