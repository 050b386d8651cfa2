"""What one candidate cross is worth, given all that was chosen before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossrec.components.cross_selector.data import Array, Sample, Task
from crossrec.components.cross_selector.fields import AnyField, Sums, add_logits, sums
from crossrec.components.cross_selector.score import log_loss, prior_variance, sigmoid, solve
from crossrec.components.cross_selector.significance import Gain, clustered

_REFINEMENTS = 2


@dataclass(frozen=True)
class Given:
    """One task with the logits of all that was chosen so far.

    Attributes:
        task: The task.
        residual: Label minus probability in the fitting block, float64 ``[m]``.
        curvature: Probability times its complement there, ``[m]``.
        logits: In the selection block, which gains are measured on, ``[k]``.
    """

    task: Task
    residual: Array
    curvature: Array
    logits: Array


@dataclass(frozen=True)
class Worth:
    """What a candidate is worth.

    Attributes:
        gain: In log loss of all tasks, per row of the first one, on the later block.
        by_task: The same of each task alone, nats per row of the first task.
        used: Ids that got a weight.
        fitted: The gain on the rows that the weights were fitted on; far more than ``gain`` means that the
            cross tells rows apart by heart, or by what later rows do not have.
    """

    gain: Gain
    by_task: tuple[float, ...]
    used: int
    fitted: float


def worth(field: AnyField, given: Sequence[Given], users: Array, min_count: float, every: int = 1) -> Worth:
    """Fits a candidate's weights on the fitting block, all else fixed, and measures them on the selection block.

    Args:
        field: The candidate.
        given: The tasks.
        users: Rows of each user in the selection block of the first task, ``[U]``, counted at the same ``every``.
        min_count: Rows that an id needs for a weight.
        every: Only each ``every``-th row is looked at.
    """
    total = np.zeros(len(users))
    by_task, used, fitted = [], 0, 0.0
    rows = int(users.sum())
    for number, one in enumerate(given):
        early, late = slice(0, one.task.ends[0], every), slice(one.task.ends[0], one.task.ends[1], every)
        residual, curvature = one.residual[::every], one.curvature[::every]
        found = sums(field, one.task.columns, early, residual, curvature)
        known = found.rows >= min_count
        found = Sums(*(np.where(known, values, 0.0) for values in found))
        variance, _ = prior_variance(found.gradient, found.hessian)
        table = solve(found.rows, found.gradient, found.bound, variance)
        if variance > 0 and any(one.task.columns[name].ndim == 2 for name in field.names):
            table = _refined(field, one, table, variance, known, every)
        if number == 0:
            used = int(known.sum())
        if variance <= 0:
            by_task.append(0.0)
            continue
        fitted += float(np.sum(found.gradient * table - 0.5 * found.hessian * table * table)) / len(residual)
        before = one.logits[::every]
        after = before.copy()
        add_logits(field, one.task.columns, late, table, after)
        labels = one.task.labels[late]
        difference = log_loss(labels, before) - log_loss(labels, after)
        by_task.append(float(difference.sum()) / rows)
        total += np.bincount(one.task.users[late], difference, len(users))
    return Worth(clustered(total, users, rows), tuple(by_task), used, fitted)


def _refined(field: AnyField, one: Given, table: Array, variance: float, known: Array, every: int) -> Array:
    """Further steps where rows have several ids, whose weights do not separate.

    The sums of the Hessian's rows bound it, so that these steps never overshoot, but are short.
    """
    rows = slice(0, one.task.ends[0], every)
    labels, before = one.task.labels[rows], one.task.labels[rows] - one.residual[::every]
    base = np.log(before / (1.0 - before))
    for _ in range(_REFINEMENTS):
        logits = base.copy()
        add_logits(field, one.task.columns, rows, table, logits)
        now = sigmoid(logits)
        found = sums(field, one.task.columns, rows, labels - now, now * (1.0 - now))
        step = (found.gradient - table / variance) / (found.bound + 1.0 / variance)
        table = np.where(known, table + step, 0.0)
    return table


def users_in_selection(sample: Sample, every: int) -> Array:
    """Rows of each user in the selection block of the first task, of each ``every``-th row."""
    task = sample.tasks[0]
    return np.bincount(task.users[task.ends[0] : task.ends[1] : every], minlength=sample.users)
