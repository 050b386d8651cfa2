"""Metrics of predicted probabilities against binary labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class SliceAuc:
    """AUC of one slice.

    Attributes:
      auc: Area under the ROC curve, NaN if the slice has one class only.
      examples: Number of examples.
      positives: Number of those with label 1.
    """

    auc: float
    examples: int
    positives: int


@dataclass(frozen=True)
class GroupedAuc:
    """Mean of the AUC within groups (users, queries).

    Attributes:
      auc: The weighted mean over the groups that have both classes.
      groups: Number of those groups.
      groups_left_out: Number of groups with one class only.
    """

    auc: float
    groups: int
    groups_left_out: int


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Compute the exact area under the ROC curve.

    It is the probability that a random positive is scored above a random negative; a tie counts one half.

    Args:
      labels: [N], 0 or 1, both present.
      scores: [N], higher means more likely positive; any scale, no NaN.

    Returns:
      A number from 0 to 1.

    Raises:
      ValueError: If lengths differ, a label is neither 0 nor 1, a score is NaN, or one class is missing.

    Example:
      >>> auc([0, 1, 0, 1], [0.1, 0.9, 0.5, 0.5])
      0.875
    """
    label, score = checked(labels, scores)
    _require_both_classes(label)
    return float(_auc_per_group(label, score, np.zeros(len(label), np.int64), 1)[0])


def log_loss(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None, *, epsilon: float = 1e-7
) -> float:
    """Compute the mean negative log likelihood, in nats.

    Args:
      labels: [N], 0 or 1.
      probabilities: [N], predicted probability of label 1.
      weights: [N], how much each example counts, not negative; all alike if left out.
      epsilon: Probabilities are clipped to ``[epsilon, 1 - epsilon]``, so that one wrong certainty costs
        ``-log(epsilon)`` and not infinity.

    Returns:
      Weighted mean over the examples.

    Raises:
      ValueError: If lengths differ, there is no example or no weight, or a value is out of range.
    """
    label, probability = checked(labels, probabilities)
    wrong = probability[(probability < 0) | (probability > 1)]
    if len(wrong):
        raise ValueError(
            f"probabilities: hold {wrong[0]}; give probabilities from 0 to 1 (a logit needs a sigmoid first)"
        )
    clipped = np.clip(probability, epsilon, 1 - epsilon)
    losses = -np.where(label, np.log(clipped), np.log1p(-clipped))
    return float(np.average(losses, weights=None if weights is None else _checked_weights(weights, len(losses))))


def auc_by_slice(labels: ArrayLike, scores: ArrayLike, slices: ArrayLike) -> dict[object, SliceAuc]:
    """Compute the AUC of each value of a slicing column.

    Args:
      labels: [N], 0 or 1.
      scores: [N], no NaN.
      slices: [N], strings or integers.

    Returns:
      The slices by value; the AUC of a slice with one class is NaN.

    Raises:
      ValueError: As ``auc``, except for a missing class.
    """
    label, score = checked(labels, scores)
    values, group = _groups("slices", slices, len(label))
    aucs = _auc_per_group(label, score, group, len(values))
    examples = np.bincount(group, minlength=len(values))
    positives = np.bincount(group[label], minlength=len(values))
    return {
        value: SliceAuc(float(a), int(n), int(p)) for value, a, n, p in zip(values.tolist(), aucs, examples, positives)
    }


def grouped_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    weight: Literal["examples", "equal"] = "examples",
) -> GroupedAuc:
    """Compute the mean of the AUC within groups, which a shift between groups cannot improve.

    Zhou et al. 2018, Deep Interest Network for Click-Through Rate Prediction, weight groups by examples.

    Args:
      labels: [N], 0 or 1.
      scores: [N], no NaN.
      groups: [N], user or query ids.
      weight: ``"examples"``, or ``"equal"`` for a plain mean over groups.

    Returns:
      The mean, and how many groups it is made of.

    Raises:
      ValueError: As ``auc``, or if no group has both classes.
    """
    if weight not in ("examples", "equal"):
        raise ValueError(f"weight: {weight!r}; use 'examples' or 'equal'")
    label, score = checked(labels, scores)
    values, group = _groups("groups", groups, len(label))
    aucs = _auc_per_group(label, score, group, len(values))
    used = ~np.isnan(aucs)
    if not used.any():
        raise ValueError(
            f"labels: none of the {len(values)} groups has both positives and negatives; group by a coarser column"
        )
    weights = np.bincount(group, minlength=len(values))[used] if weight == "examples" else None
    mean = np.average(aucs[used], weights=weights)
    return GroupedAuc(float(mean), int(used.sum()), int((~used).sum()))


def placements(
    labels: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute how each example fares against the other class: the parts whose mean is the AUC.

    Args:
      labels: bool [N], both classes present.
      scores: float64 [N], no NaN.

    Returns:
      For each positive the share of negatives below it, for each negative the share of positives above it;
      a tie counts one half. float64 [positives] and [negatives].
    """
    positive, negative = np.sort(scores[labels]), np.sort(scores[~labels])
    below = np.searchsorted(negative, scores[labels], "left") + np.searchsorted(negative, scores[labels], "right")
    under = np.searchsorted(positive, scores[~labels], "left") + np.searchsorted(positive, scores[~labels], "right")
    return below / (2.0 * len(negative)), 1.0 - under / (2.0 * len(positive))


def _auc_per_group(
    labels: NDArray[np.bool_], scores: NDArray[np.float64], groups: NDArray[np.int64], group_count: int
) -> NDArray[np.float64]:
    """AUC of every group at once; NaN for a group with one class. Counted in integers, hence exact."""
    order = np.lexsort((scores, groups))
    label, score, group = labels[order], scores[order], groups[order]
    # A block is a run of equal scores within a group.
    first = np.ones(len(label), dtype=bool)
    first[1:] = (score[1:] != score[:-1]) | (group[1:] != group[:-1])
    block = np.cumsum(first) - 1
    blocks = int(block[-1]) + 1
    block_group = group[first]
    positives = np.bincount(block[label], minlength=blocks)
    negatives = np.bincount(block[~label], minlength=blocks)
    group_positives = np.bincount(group[label], minlength=group_count)
    group_negatives = np.bincount(group[~label], minlength=group_count)
    negatives_before_group = np.cumsum(group_negatives) - group_negatives
    below = np.cumsum(negatives) - negatives - negatives_before_group[block_group]
    twice_won = np.zeros(group_count, dtype=np.int64)
    np.add.at(twice_won, block_group, positives * (2 * below + negatives))
    pairs = group_positives * group_negatives
    return np.where(pairs > 0, twice_won / np.maximum(2 * pairs, 1), np.nan)


def checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Labels and scores as arrays.

    Raises:
      ValueError: If lengths differ, there is no example, a label is neither 0 nor 1, or a score is NaN.
    """
    label, score = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if label.ndim != 1 or label.shape != score.shape:
        raise ValueError(f"labels and scores: shapes {label.shape} and {score.shape}; give two lists of one length")
    if len(label) == 0:
        raise ValueError("labels: empty; there is nothing to measure, check that the evaluation split has rows")
    wrong = label[(label != 0) & (label != 1)]
    if len(wrong):
        raise ValueError(f"labels: hold {wrong[0]!r}; give 0 or 1 for every example")
    if np.isnan(score).any():
        raise ValueError(
            f"scores: NaN in {int(np.isnan(score).sum())} of {len(score)}, first at row "
            f"{int(np.isnan(score).argmax())}; "
            "a model that predicts NaN has diverged: lower its learning rate or check its inputs"
        )
    return label.astype(bool), score


def _checked_weights(weights: ArrayLike, count: int) -> NDArray[np.float64]:
    weight = np.asarray(weights, dtype=np.float64)
    if weight.shape != (count,):
        raise ValueError(f"weights: shape {weight.shape}; give one weight for each of the {count} examples")
    wrong = weight[~(weight >= 0) | np.isinf(weight)]
    if len(wrong):
        raise ValueError(f"weights: hold {wrong[0]}; give finite numbers that are not negative")
    if weight.sum() == 0:
        raise ValueError("weights: all are 0; give at least one example a weight above 0")
    return weight


def _require_both_classes(label: NDArray[np.bool_]) -> None:
    if label.all() or not label.any():
        raise ValueError(
            f"labels: all {len(label)} are {int(label[0])}; AUC needs both classes, check the label column "
            "and the split"
        )


def _groups(name: str, values: ArrayLike, count: int) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    array = np.asarray(values)
    if array.shape != (count,):
        raise ValueError(f"{name}: shape {array.shape}; give one value for each of the {count} examples")
    unique, group = np.unique(array, return_inverse=True)
    return unique, group.astype(np.int64)
