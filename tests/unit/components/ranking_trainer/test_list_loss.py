"""Losses of lists: numbers by hand, signs of gradients, and what they must not depend on."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.ranking_trainer.fusion import list_loss
from crossrec.components.ranking_trainer.list_loss import LOSSES, by_list, gains_of, lambda_loss, softmax_loss

BOTH = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def of_rows(loss, scores, gains, lists, weights=None):
    """Losses of lists and their gradient by the scores."""
    scores = tf.Variable(np.asarray(scores, np.float32))
    weights = np.ones(len(gains)) if weights is None else weights
    with tf.GradientTape() as tape:
        values = [scores, tf.constant(gains, tf.float32), tf.constant(weights, tf.float32)]
        mask, padded = by_list(tf.constant(lists, tf.int64), values)
        losses = loss(mask, *padded)
    return losses.numpy(), tf.convert_to_tensor(tape.gradient(losses, scores)).numpy()


def random_rows(seed=0, rows=30, lists=5):
    rng = np.random.default_rng(seed)
    gains = 2.0 ** rng.integers(0, 4, rows) - 1
    return rng.normal(size=rows), gains, rng.integers(0, lists, rows), rng.choice([0.5, 1.0, 2.0], rows)


def test_gains():
    np.testing.assert_array_equal(gains_of(tf.constant([0.0, 1.0, 2.0, 3.0]), "exponential"), [0, 1, 3, 7])
    np.testing.assert_array_equal(gains_of(tf.constant([0.0, 1.0, 2.0, 3.0]), "linear"), [0, 1, 2, 3])


def test_softmax_by_hand():
    # Shares of the gains: 3/4 and 1/4; all scores equal: every row has log-share -log 3.
    losses, gradient = of_rows(softmax_loss, [2, 2, 2], [3, 1, 0], [0, 0, 0])
    assert losses == pytest.approx([np.log(3)])
    assert gradient == pytest.approx([1 / 3 - 3 / 4, 1 / 3 - 1 / 4, 1 / 3])
    weighted, _ = of_rows(softmax_loss, [0, 0], [1, 0], [0, 0], [1, 5])
    assert weighted == pytest.approx([np.log(6)])


def test_lambda_by_hand():
    # One pair, ranked 2 and 1: gain 3, discounts 1 and 1 / log2 3, best DCG 3.
    losses, gradient = of_rows(lambda_loss, [0, 1], [3, 0], [0, 0])
    change = 1 - 1 / np.log2(3)
    assert losses == pytest.approx([change * np.log2(1 + np.e)])
    slope = change / np.log(2) / (1 + np.exp(-1))
    assert gradient == pytest.approx([-slope, slope])


def test_lambda_against_a_loop_over_pairs():
    scores, gains, lists, weights = random_rows()
    losses, _ = of_rows(lambda_loss, scores, gains, lists, weights)
    order = list(dict.fromkeys(lists))
    for place, number in enumerate(order):
        s, g, w = (values[lists == number] for values in (scores, gains, weights))
        rank = np.empty(len(s))
        rank[np.argsort(-s)] = np.arange(1, len(s) + 1)
        ideal = (np.sort(g)[::-1] / np.log2(np.arange(2, len(g) + 2))).sum()
        total = sum(
            w[i] * w[j] * (g[i] - g[j]) / ideal * abs(1 / np.log2(1 + rank[i]) - 1 / np.log2(1 + rank[j]))
            * np.log2(1 + np.exp(s[j] - s[i]))
            for i in range(len(s)) for j in range(len(s)) if g[i] > g[j]
        )  # fmt: skip
        assert losses[place] == pytest.approx(total, rel=1e-5)


@BOTH
def test_the_better_row_is_pulled_up_and_the_worse_one_down(loss):
    for scores in ([0.0, 0.0], [-4.0, 4.0], [4.0, -4.0]):
        losses, gradient = of_rows(loss, scores, [7, 0], [0, 0])
        assert gradient[0] < 0 < gradient[1]
    assert of_rows(loss, [4, -4], [7, 0], [0, 0])[0] < of_rows(loss, [-4, 4], [7, 0], [0, 0])[0]


@BOTH
def test_neither_the_order_of_rows_nor_the_level_of_scores_matters(loss):
    scores, gains, lists, weights = random_rows()
    losses, gradient = of_rows(loss, scores, gains, lists, weights)
    order = np.random.default_rng(1).permutation(len(scores))
    mixed, moved = of_rows(loss, scores[order], gains[order], lists[order], weights[order])
    np.testing.assert_allclose(np.sort(mixed), np.sort(losses), rtol=1e-5)
    np.testing.assert_allclose(moved, gradient[order], atol=1e-5)
    raised, _ = of_rows(loss, scores + 10.0 * lists, gains, lists, weights)
    np.testing.assert_allclose(raised, losses, rtol=1e-4)
    np.testing.assert_allclose(np.bincount(lists, gradient), 0.0, atol=1e-5)


@BOTH
def test_lists_are_alone(loss):
    scores, gains, lists, weights = random_rows()
    together, gradient = of_rows(loss, scores, gains, lists, weights)
    for place, number in enumerate(dict.fromkeys(lists)):
        mine = lists == number
        alone, own = of_rows(loss, scores[mine], gains[mine], lists[mine], weights[mine])
        assert alone == pytest.approx([together[place]], rel=1e-5)
        np.testing.assert_allclose(own, gradient[mine], atol=1e-6)


@BOTH
def test_lists_with_nothing_to_order_teach_nothing(loss):
    losses, gradient = of_rows(loss, [1, -1, 3, 0], [0, 0, 7, 1], [0, 0, 1, 1], [1, 1, 1, 0])
    assert losses[0] == 0 and (gradient[:2] == 0).all()
    assert np.isfinite(losses).all() and np.isfinite(gradient).all(), "a row without weight is no row"
    assert gradient[3] == 0
    one, slope = of_rows(loss, [5], [7], [0])
    assert one == pytest.approx([0.0], abs=1e-6) and slope == pytest.approx([0.0], abs=1e-6)
    nothing, _ = of_rows(loss, [], [], [])
    assert len(nothing) == 0


@BOTH
def test_large_scores_stay_numbers(loss):
    losses, gradient = of_rows(loss, [1e4, -1e4, 0], [0, 7, 1], [0, 0, 0])
    assert np.isfinite(losses).all() and np.isfinite(gradient).all()


def test_the_loss_that_fits_the_balance_is_the_same():
    scores, gains, lists, _ = random_rows()
    losses, _ = of_rows(softmax_loss, scores, gains, lists)
    assert list_loss(scores, gains, lists, 1.0) == pytest.approx(losses.mean(), rel=1e-5)
