import math

import numpy as np
import pytest

from crossrec.components.evaluation.metrics import (
    RaggedItems,
    hit_matrix,
    hit_rate_at_k,
    mrr_at_k,
    ndcg_at_k,
    ranking_metrics,
    recall_at_k,
)


def discounts(*ranks):
    return sum(1 / math.log2(rank + 1) for rank in ranks)


def brute_force(top, relevant, k):
    """The definitions, query by query."""
    rows = []
    for items, wanted in zip(top, relevant):
        wanted = set(wanted)
        hits = [item in wanted and item >= 0 for item in items[:k]]
        if not wanted:
            rows.append((math.nan,) * 4)
            continue
        ideal = discounts(*range(1, min(len(wanted), k) + 1))
        gain = discounts(*(rank for rank, hit in enumerate(hits, 1) if hit))
        first = next((1 / rank for rank, hit in enumerate(hits, 1) if hit), 0.0)
        rows.append((sum(hits) / len(wanted), gain / ideal, float(any(hits)), first))
    return np.array(rows).T


def test_values_computed_by_hand():
    top = [[5, 1, 7, 2], [0, 1, 2, -1], [4, 3, 2, 1], [9, 8, 7, 6]]
    relevant = RaggedItems.from_lists([[1, 2, 9], [3], [4], [9, 8, 7, 6, 5, 4]])
    assert recall_at_k(top, relevant, 4) == pytest.approx([2 / 3, 0, 1, 4 / 6])
    assert recall_at_k(top, relevant, 1) == pytest.approx([0, 0, 1, 1 / 6])
    assert hit_rate_at_k(top, relevant, 4) == pytest.approx([1, 0, 1, 1])
    assert mrr_at_k(top, relevant, 4) == pytest.approx([1 / 2, 0, 1, 1])
    first = discounts(2, 4) / discounts(1, 2, 3)
    # With six relevant items and k = 4 the best list has four hits: it is perfect.
    assert ndcg_at_k(top, relevant, 4) == pytest.approx([first, 0, 1, 1])


@pytest.mark.parametrize("k", [1, 3, 10])
def test_equals_brute_force(k):
    generator = np.random.default_rng(k)
    top = np.stack([generator.permutation(30)[:10] for _ in range(200)])
    padding = generator.integers(0, 11, size=200)
    top[np.arange(10) >= padding[:, None]] = -1
    lists = [generator.choice(40, size=generator.integers(0, 15), replace=False) for _ in range(200)]
    lists[7] = lists[8] = []
    found = ranking_metrics(top, RaggedItems.from_lists(lists), [k])
    expected = brute_force(top.tolist(), [entry.tolist() if len(entry) else [] for entry in lists], k)
    for name, values in zip(["recall", "ndcg", "hit_rate", "mrr"], expected):
        np.testing.assert_allclose(found[f"{name}@{k}"], values, rtol=1e-12, err_msg=name)
    assert np.isnan(found[f"ndcg@{k}"][7])


def test_neighbouring_queries_do_not_mix():
    # Padding of one query must not meet the last item of the query before.
    top = np.array([[2, -1], [-1, -1], [0, 2]])
    relevant = RaggedItems.from_lists([[0], [1], [2]])
    assert hit_matrix(top, relevant).tolist() == [[False, False], [False, False], [False, True]]


def test_reordering_queries_reorders_the_values():
    generator = np.random.default_rng(0)
    top = np.stack([generator.permutation(20)[:5] for _ in range(50)])
    lists = [generator.choice(20, size=4, replace=False) for _ in range(50)]
    order = generator.permutation(50)
    straight = ranking_metrics(top, RaggedItems.from_lists(lists), [5])
    shuffled = ranking_metrics(top[order], RaggedItems.from_lists([lists[i] for i in order]), [5])
    for name, values in straight.items():
        np.testing.assert_array_equal(values[order], shuffled[name])


def test_swapping_a_hit_upwards_raises_ndcg_and_leaves_recall():
    relevant = RaggedItems.from_lists([[1, 2]])
    low, high = np.array([[5, 6, 1, 2]]), np.array([[5, 1, 6, 2]])
    assert ndcg_at_k(high, relevant, 4) > ndcg_at_k(low, relevant, 4)
    assert recall_at_k(high, relevant, 4) == recall_at_k(low, relevant, 4)


def test_metrics_grow_with_k_where_they_must():
    generator = np.random.default_rng(3)
    top = np.stack([generator.permutation(20)[:8] for _ in range(50)])
    relevant = RaggedItems.from_lists([generator.choice(20, size=4, replace=False) for _ in range(50)])
    found = ranking_metrics(top, relevant, range(1, 9))
    for name in ("recall", "hit_rate", "mrr"):
        values = np.stack([found[f"{name}@{k}"] for k in range(1, 9)])
        assert (np.diff(values, axis=0) >= 0).all(), name


@pytest.mark.parametrize(
    ("top", "relevant", "k", "message"),
    [
        ([[1, 2]], [[1], [2]], 2, "top_items: 1 queries, but relevant has 2"),
        ([[1, 2]], [[1]], 3, "k: 3, but top_items has 2 columns"),
        ([[1, 2]], [[1]], 0, "k: 0"),
        ([[1, 2], [4, 4]], [[1], [4]], 2, "row 1 holds item 4 more than once"),
        ([1, 2], [[1]], 1, "give integers of shape"),
        ([[0.5]], [[1]], 1, "give integers of shape"),
    ],
)
def test_wrong_input_is_refused(top, relevant, k, message):
    with pytest.raises(ValueError, match=message):
        ranking_metrics(np.array(top), RaggedItems.from_lists(relevant), [k])
