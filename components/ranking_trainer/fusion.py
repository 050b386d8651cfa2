r"""Joining the ranking model's logit with the retrieval model's score, on rows that neither was trained on.

As an input of the network the retrieval score would deceive it: on training rows the score was fitted to the
very labels that the network is to explain. So the two are joined afterwards, on the validation split:

.. math:: P(y = 1) = \sigma(a \cdot logit + b \cdot score + c)

The balance :math:`b / a` orders the candidates of one query, so it is fitted within queries, by the
conditional logit (McFadden 1974); scale and level are fitted to logged rows (Platt 1999).

A graded task has no probability to fit. Its balance is that of the smallest softmax loss of whole lists, see
list_loss.py, and scale and level only bring the scores of validation to mean 0 and standard deviation 1, where the
sigmoid still tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crossrec.components.features.item_table import Array

_STEPS, _RIDGE = 50, 1e-6
_SCALES = np.geomspace(0.125, 4.0, 6)
_LEAST_BALANCE, _BALANCES = 0.02, 15


def conditional_loss(scores: Array, labels: Array, groups: Array, weight: float) -> float:
    """Mean loss of each positive among the negatives of its group.

    For a positive p it is ``-log(exp(s_p) / (exp(s_p) + w sum_j exp(s_j)))`` over the negatives j of p's group.

    Args:
        scores: ``[n]``.
        labels: ``[n]``, 0 or 1.
        groups: int ``[n]``, from 0.
        weight: How many rows a negative stands for, w.
    """
    positive = labels > 0
    top = np.full(groups.max() + 1, -np.inf)
    np.maximum.at(top, groups, scores)
    exponentials = np.exp(scores - top[groups])
    others = weight * np.bincount(groups, np.where(positive, 0.0, exponentials), len(top))
    own = (scores - top[groups])[positive]
    return float(np.mean(np.log(np.exp(own) + others[groups[positive]]) - own))


def fit_balance(logits: Array, scores: Array, labels: Array, groups: Array, weight: float, limit: float = 0.5) -> float:
    """How much a retrieval score counts against a logit, b / a, when candidates of one query are ordered.

    Args:
        logits: ``[n]``, the ranking model's.
        scores: ``[n]``, the retrieval model's.
        labels: ``[n]``, 0 or 1.
        groups: int ``[n]``, the query of each row, from 0.
        weight: How many candidates a negative stands for.
        limit: The largest balance, in units of the two standard deviations, so that it does not depend on either's
            scale: at 0.5 the score counts half as much as the logit.

    Returns:
        The balance, at least 0; 0 where there is nothing to order.
    """
    return _least(conditional_loss, (logits, scores, labels, groups), weight, limit)


def list_loss(scores: Array, gains: Array, groups: Array, weight: float) -> float:
    """Mean softmax cross-entropy of lists with gains, as ``list_loss.softmax_loss``; those without any are left out.

    Args:
        scores: ``[n]``.
        gains: ``[n]``, from 0.
        groups: int ``[n]``, from 0.
        weight: How many rows one without gain stands for.
    """
    top = np.full(groups.max() + 1, -np.inf)
    np.maximum.at(top, groups, scores)
    shifted = scores - top[groups]
    sums = np.log(np.bincount(groups, np.where(gains > 0, 1.0, weight) * np.exp(shifted), len(top)))
    whole = np.bincount(groups, gains, len(top))
    targets = np.divide(gains, whole[groups], out=np.zeros_like(gains), where=whole[groups] > 0)
    return float(np.sum(targets * (sums[groups] - shifted)) / np.count_nonzero(whole))


def fit_graded_balance(
    logits: Array, scores: Array, gains: Array, groups: Array, weight: float = 1.0, limit: float = 0.5
) -> float:
    """As ``fit_balance``, with gains ``[n]`` in place of labels."""
    return _least(list_loss, (logits, scores, gains, groups), weight, limit)


def standardise(values: Array) -> tuple[float, float]:
    """Scale and level that bring values to mean 0 and standard deviation 1; (1, 0) where all are equal."""
    deviation = float(values.std()) if len(values) else 0.0
    if not np.isfinite(deviation) or deviation <= 0:
        return 1.0, 0.0
    return 1.0 / deviation, -float(values.mean()) / deviation


def _least(
    loss: Callable[[Array, Array, Array, float], float],
    rows: tuple[Array, Array, Array, Array],
    weight: float,
    limit: float,
) -> float:
    """The balance, of those on a grid, whose loss is the smallest at its best scale."""
    logits, scores, labels, groups = rows
    mixed = np.unique(groups[labels > 0])
    kept = np.isin(groups, mixed)
    if not kept.any() or len(np.unique(labels[kept])) < 2 or scores[kept].std() <= 0 or logits[kept].std() <= 0:
        return 0.0
    _, compact = np.unique(groups[kept], return_inverse=True)
    logits, scores, labels = (values[kept].astype(np.float64) for values in (logits, scores, labels))
    unit = logits.std() / scores.std()
    balances = [0.0, *np.geomspace(min(_LEAST_BALANCE, limit), limit, _BALANCES)]
    losses = {
        (scale, balance): loss(scale * (logits + balance * unit * scores), labels, compact, weight)
        for scale in _SCALES
        for balance in balances
    }
    return float(min(losses, key=losses.__getitem__)[1] * unit)


def fit_calibration(values: Array, labels: Array) -> tuple[float, float]:
    """Scale and level that turn values into log-odds, by Newton's method.

    Args:
        values: ``[n]``.
        labels: ``[n]``, 0 or 1.

    Returns:
        (a, c) of ``a * value + c``; (1, 0) where the labels are all equal, or where the fit would turn the order.
    """
    if len(np.unique(labels)) < 2:
        return 1.0, 0.0
    unit = max(float(values.std()), 1e-9)
    inputs = np.stack([values / unit, np.ones_like(values)], 1).astype(np.float64)
    parameters = np.array([0.0, np.log(labels.mean() / (1.0 - labels.mean()))])
    for _ in range(_STEPS):
        probabilities = 1.0 / (1.0 + np.exp(-np.clip(inputs @ parameters, -30.0, 30.0)))
        gradient = inputs.T @ (labels - probabilities) / len(labels) - _RIDGE * parameters
        curvature = probabilities * (1.0 - probabilities) / len(labels)
        step = np.linalg.solve((inputs * curvature[:, None]).T @ inputs + _RIDGE * np.eye(2), gradient)
        parameters += step
        if np.abs(step).max() < 1e-9:
            break
    if not np.isfinite(parameters).all() or parameters[0] <= 0:
        return 1.0, 0.0
    return float(parameters[0] / unit), float(parameters[1])
