import math

import numpy as np
import pytest

from crossrec.components.evaluation.metrics import auc, auc_by_slice, grouped_auc, log_loss


def pairwise_auc(labels, scores):
    labels, scores = np.asarray(labels, bool), np.asarray(scores)
    difference = scores[labels][:, None] - scores[~labels][None, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean()


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, size=500)
    scores = np.round(generator.normal(size=500) + labels, 1)  # rounded: many ties
    groups = generator.integers(0, 60, size=500)
    return labels, scores, groups


def test_auc_equals_the_count_over_all_pairs(data):
    labels, scores, _ = data
    assert auc(labels, scores) == pytest.approx(pairwise_auc(labels, scores), abs=1e-15)


def test_auc_of_extremes_and_ties():
    assert auc([0, 0, 1, 1], [1, 2, 3, 4]) == 1.0
    assert auc([1, 1, 0, 0], [1, 2, 3, 4]) == 0.0
    assert auc([0, 1, 0, 1, 1], [7, 7, 7, 7, 7]) == 0.5
    assert auc([0, 1], [-np.inf, np.inf]) == 1.0


def test_auc_keeps_under_increasing_maps_and_turns_under_a_sign_flip(data):
    labels, scores, _ = data
    base = auc(labels, scores)
    for transform in (np.exp, np.arctan, lambda x: 3 * x - 7, np.cbrt):
        assert auc(labels, transform(scores)) == base
    assert auc(labels, -scores) == pytest.approx(1 - base, abs=1e-15)
    assert auc(1 - labels, scores) == pytest.approx(1 - base, abs=1e-15)


def test_auc_does_not_depend_on_the_order_of_examples(data):
    labels, scores, _ = data
    order = np.random.default_rng(1).permutation(len(labels))
    assert auc(labels[order], scores[order]) == auc(labels, scores)


def test_slices_and_groups_equal_auc_on_their_parts(data):
    labels, scores, groups = data
    labels = np.where(groups == 3, 1, labels)
    by_slice = auc_by_slice(labels, scores, groups)
    parts = {}
    for group in np.unique(groups):
        inside = groups == group
        assert by_slice[group].examples == inside.sum()
        assert by_slice[group].positives == labels[inside].sum()
        if 0 < labels[inside].sum() < inside.sum():
            parts[group] = (pairwise_auc(labels[inside], scores[inside]), inside.sum())
            assert by_slice[group].auc == pytest.approx(parts[group][0], abs=1e-14)
        else:
            assert math.isnan(by_slice[group].auc)
    assert math.isnan(by_slice[3].auc)
    values, sizes = (np.array(column) for column in zip(*parts.values()))
    weighted = grouped_auc(labels, scores, groups)
    assert weighted.auc == pytest.approx((values * sizes).sum() / sizes.sum())
    assert (weighted.groups, weighted.groups_left_out) == (len(parts), len(by_slice) - len(parts))
    assert grouped_auc(labels, scores, groups, "equal").auc == pytest.approx(values.mean())


def test_grouped_auc_ignores_shifts_between_groups(data):
    labels, scores, groups = data
    # Whole numbers keep the ties as they are.
    tenths = np.round(scores * 10)
    shifted = tenths + 1000 * groups
    assert grouped_auc(labels, shifted, groups) == grouped_auc(labels, tenths, groups)
    assert auc(labels, shifted) != auc(labels, tenths)


def test_slices_may_be_strings():
    found = auc_by_slice([0, 1, 0, 1], [1, 2, 4, 3], np.array(["new", "new", "old", "old"]))
    assert {name: part.auc for name, part in found.items()} == {"new": 1.0, "old": 0.0}


def test_log_loss_by_hand_and_clipped():
    assert log_loss([1, 0], [0.8, 0.4]) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert log_loss([1, 0, 1], [0.5, 0.5, 0.5]) == pytest.approx(math.log(2))
    assert log_loss([1], [0.0], epsilon=1e-7) == pytest.approx(-math.log(1e-7))
    assert log_loss([0], [1.0], epsilon=1e-3) == pytest.approx(-math.log(1e-3))
    assert log_loss([1, 0], [1.0, 0.0]) == pytest.approx(1e-7, rel=1e-3)


def test_log_loss_is_symmetric_and_smallest_at_the_base_rate():
    labels = [1, 1, 1, 0]
    losses = {p: log_loss(labels, [p] * 4) for p in (0.5, 0.7, 0.75, 0.8)}
    assert min(losses, key=losses.get) == 0.75
    assert log_loss([0, 0, 0, 1], [0.3] * 4) == pytest.approx(losses[0.7])


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 1], [0.1, 0.2], "labels: all 2 are 1; AUC needs both classes"),
        ([0, 0], [0.1, 0.2], "labels: all 2 are 0"),
        ([0, 1, 1], [0.1, 0.2], "one length"),
        ([], [], "labels: empty"),
        ([0, 2], [0.1, 0.2], "labels: hold 2"),
        ([0, 1], [0.1, math.nan], "scores: NaN in 1 of 2, first at row 1"),
    ],
)
def test_wrong_input_of_auc_is_refused(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        auc(labels, scores)


def test_log_loss_weights_count_like_repetitions():
    labels, probabilities, weights = [1, 0, 1], [0.8, 0.3, 0.6], [2, 0, 3]
    repeated = log_loss(np.repeat(labels, weights), np.repeat(probabilities, weights))
    assert log_loss(labels, probabilities, weights) == pytest.approx(repeated)
    assert log_loss(labels, probabilities, np.full(3, 7.0)) == pytest.approx(log_loss(labels, probabilities))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "weights: shape"),
        ([1.0, -2.0], "weights: hold -2"),
        ([1.0, math.nan], "weights: hold nan"),
        ([math.inf, 1.0], "weights: hold inf"),
        ([0.0, 0.0], "weights: all are 0"),
        (1e-7, "weights: shape"),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        log_loss([0, 1], [0.1, 0.2], weights)


def test_other_wrong_input_is_refused():
    with pytest.raises(ValueError, match="probabilities: hold 1.5.*sigmoid"):
        log_loss([0, 1], [0.1, 1.5])
    with pytest.raises(ValueError, match="none of the 2 groups"):
        grouped_auc([0, 0, 1, 1], [1, 2, 3, 4], [5, 5, 6, 6])
    with pytest.raises(ValueError, match="slices: shape"):
        auc_by_slice([0, 1], [1, 2], [1])
    with pytest.raises(ValueError, match="weight: 'users'"):
        grouped_auc([0, 1], [1, 2], [1, 1], "users")
