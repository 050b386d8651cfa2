"""NDCG of graded lists against numbers computed by hand and against all orders of ties."""

import itertools

import numpy as np
import pytest

from crossrec.components.evaluation.graded_metrics import graded_ndcg, mean_ndcg

LOG3 = np.log2(3.0)


def ndcg_of_order(grades, k, gain):
    gains = [2.0**grade - 1 if gain == "exponential" else grade for grade in grades]
    dcg = sum(g / np.log2(rank + 2) for rank, g in enumerate(gains[:k]))
    return dcg / sum(g / np.log2(rank + 2) for rank, g in enumerate(sorted(gains, reverse=True)[:k]))


def test_golden_numbers():
    # Gains 0, 7, 1 in this order: (7 / log2 3 + 1 / 2) / (7 + 1 / log2 3).
    found = graded_ndcg([3, 2, 1], [0, 3, 1], [0, 0, 0], 10)
    assert found == pytest.approx([(7 / LOG3 + 0.5) / (7 + 1 / LOG3)])
    linear = graded_ndcg([3, 2, 1], [0, 3, 1], [0, 0, 0], 10, "linear")
    assert linear == pytest.approx([(3 / LOG3 + 0.5) / (3 + 1 / LOG3)])
    assert graded_ndcg([3, 2, 1], [0, 3, 1], [0, 0, 0], 1) == pytest.approx([0.0])
    assert graded_ndcg([3, 2, 1], [0, 3, 1], [0, 0, 0], 2) == pytest.approx([(7 / LOG3) / (7 + 1 / LOG3)])


@pytest.mark.parametrize("k", [1, 2, 3, 10])
@pytest.mark.parametrize("gain", ["exponential", "linear"])
def test_ties_count_as_the_mean_over_all_their_orders(k, gain):
    rng = np.random.default_rng(k)
    for _ in range(5):
        grades, scores = rng.integers(0, 4, 5), rng.integers(0, 3, 5)
        if not grades.any():
            continue
        orders = [o for o in itertools.permutations(range(5)) if (np.diff(scores[list(o)]) <= 0).all()]
        expected = np.mean([ndcg_of_order(grades[list(order)], k, gain) for order in orders])
        assert graded_ndcg(scores, grades, np.zeros(5), k, gain) == pytest.approx([expected])


def test_lists_do_not_know_of_each_other_and_rows_come_in_any_order():
    rng = np.random.default_rng(0)
    scores, grades, lists = rng.random(60), rng.integers(0, 4, 60), rng.integers(0, 7, 60)
    whole = graded_ndcg(scores, grades, lists, 5)
    alone = [graded_ndcg(scores[lists == n], grades[lists == n], lists[lists == n], 5)[0] for n in range(7)]
    np.testing.assert_allclose(whole, alone)
    order = rng.permutation(60)
    np.testing.assert_allclose(graded_ndcg(scores[order], grades[order], lists[order], 5), whole)
    np.testing.assert_allclose(graded_ndcg(np.exp(3 * scores), grades, lists, 5), whole)


def test_the_best_order_is_one_and_a_list_without_gain_has_no_value():
    found = graded_ndcg([2, 1, 5, 4], [3, 1, 0, 0], [0, 0, 1, 1], 10)
    assert found[0] == 1.0 and np.isnan(found[1])
    assert mean_ndcg([2, 1, 5, 4], [3, 1, 0, 0], [0, 0, 1, 1], 10) == 1.0
    assert np.isnan(mean_ndcg([1], [0], [0], 10)) and len(graded_ndcg([], [], [], 10)) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (([1, 2], [1], [0, 0], 10), "of one length"),
        (([1, 2], [1, 0], [0, 0], 0), "ranks begin with 1"),
        (([1, float("nan")], [1, 0], [0, 0], 10), "NaN"),
        (([1, 2], [1, -1], [0, 0], 10), "below 0"),
    ],
)
def test_impossible_questions_are_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        graded_ndcg(*arguments)
