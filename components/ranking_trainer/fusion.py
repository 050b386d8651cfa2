r"""Joining the ranking model's logit with the retrieval model's score, by logistic regression on held-out rows.

As an input of the network the retrieval score would deceive it: on training rows the score was fitted to the
very labels that the network is to explain. So the two are joined afterwards, on the validation split:

.. math:: P(y = 1) = \sigma(a \cdot logit + b \cdot score + c)

which also calibrates the logit (Platt 1999) and is the stacking of Wolpert (1992) with two members.
"""

from __future__ import annotations

import numpy as np

from crossrec.components.features.item_table import Array

_STEPS, _RIDGE = 50, 1e-6


def fit_fusion(logits: Array, scores: Array, labels: Array, weights: Array) -> Array:
    """Fits a, b and c by Newton's method.

    Args:
        logits: ``[n]``, the ranking model's.
        scores: ``[n]``, the retrieval model's.
        labels: ``[n]``, 0 or 1.
        weights: ``[n]``.

    Returns:
        float32 ``[3]``: a, b, c. The identity (1, 0, 0) where the labels are all equal, or where the fit would
        turn the ranking model's order around.
    """
    identity = np.array([1.0, 0.0, 0.0], np.float32)
    if len(np.unique(labels)) < 2:
        return identity
    inputs = np.stack([logits, scores, np.ones_like(logits)], 1).astype(np.float64)
    scale = np.array([max(inputs[:, 0].std(), 1e-9), max(inputs[:, 1].std(), 1e-9), 1.0])
    inputs = inputs / scale
    weights = weights.astype(np.float64) / weights.sum()
    parameters = np.zeros(3)
    for _ in range(_STEPS):
        probabilities = 1.0 / (1.0 + np.exp(-np.clip(inputs @ parameters, -30.0, 30.0)))
        gradient = inputs.T @ (weights * (labels - probabilities)) - _RIDGE * parameters
        curvature = weights * probabilities * (1.0 - probabilities)
        hessian = (inputs * curvature[:, None]).T @ inputs + _RIDGE * np.eye(3)
        step = np.linalg.solve(hessian, gradient)
        parameters += step
        if np.abs(step).max() < 1e-9:
            break
    fitted = (parameters / scale).astype(np.float32)
    return fitted if np.isfinite(fitted).all() and fitted[0] > 0 else identity
