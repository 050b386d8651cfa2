"""Rare items of Online Retail, and differences by seed, by hand."""

import numpy as np
import pytest
import scipy.sparse as sparse

from crossrec.components.evaluation.metrics import RaggedItems
from tests.benchmarks import online_retail
from tests.benchmarks.online_retail_data import Protocol


@pytest.fixture
def protocol():
    """Items 0 to 3 with 1, 2, 3 and 4 of four customers; three customers are asked about."""
    train = sparse.csr_matrix(np.array([[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]], float))
    relevant = RaggedItems.from_lists([[0, 3], [2, 3], [1]])
    return Protocol(np.array([7, 8, 9]), np.array(list("abcd")), train, train[:3], relevant)


@pytest.mark.parametrize(
    ("share", "kept"), [(0.25, [[0], [], []]), (0.5, [[0], [], [1]]), (1.0, [[0, 3], [2, 3], [1]])]
)
def test_rare_items_are_those_with_the_fewest_customers(protocol, share, kept):
    relevant = online_retail.rare(protocol, share).relevant
    assert [relevant.items[relevant.row_of_item == row].tolist() for row in range(3)] == kept


def test_customers_without_a_rare_purchase_do_not_count(protocol):
    lists = np.full((3, 20), -1)
    lists[0, 0] = 0
    figures = online_retail.measure(protocol, {"bundle": lists}, {"rare_half": 0.5})
    assert figures["rare_half_recall@20"] == pytest.approx(1 / 2)
    assert figures["recall@20"] == pytest.approx((1 / 2 + 0 + 0) / 3)


def test_what_retrieval_finds_counts_down_to_its_last_candidate(protocol):
    lists = np.full((3, online_retail.DEEP), -1)
    lists[0, online_retail.DEEP - 1] = 0
    figures = online_retail.measure(protocol, {"retrieval": lists}, {"rare_quarter": 0.25})
    assert (figures["retrieval_rare_quarter_recall@20"], figures["retrieval_rare_quarter_recall@200"]) == (0, 1)


def test_gains_are_differences_by_seed():
    figures = {"ndcg@20": [0.3, 0.5], "without_text_ndcg@20": [0.2, 0.6], "ease_ndcg@20": [0.1]}
    found = online_retail.gains(figures, online_retail.TEXT)
    assert {name: np.round(values, 6).tolist() for name, values in found.items()} == {
        "over_without_text_ndcg@20": [0.1, -0.1]
    }


def test_variants_change_text_alone():
    with_words = online_retail.make_spec(3, small=False)
    without, vectors = online_retail.make_spec(3, small=False), online_retail.make_spec(3, small=False)
    online_retail.without_text(without)
    online_retail.with_vectors(vectors)
    assert "description" not in str(without["features"]) + str(without["retrieval"]) + str(without["ranking"])
    assert without["ranking"]["training"]["seed"] == 3
    for section in ("retrieval", "ranking"):
        item = vectors[section]["item"] if section == "retrieval" else vectors[section]
        item["features"].remove("description_vector")
    del vectors["features"]["item"]["description_vector"]
    assert vectors == with_words


def test_a_gain_has_an_interval_over_the_customers_who_count():
    nan = float("nan")
    ours, theirs = [[0.2, 0.6, nan], [0.4, 0.8, nan]], [[0.1, 0.3, nan], [0.1, 0.3, nan]]
    values = {"ndcg@20": [np.array(v) for v in ours], "vectors_ndcg@20": [np.array(v) for v in theirs]}
    found = online_retail.intervals(values, online_retail.TEXT)
    # Means of two seeds gain .2 and .4: mean .3, its standard error .1414 / sqrt(2).
    half = 1.95996 * 0.1
    assert found == {
        "over_vectors_ndcg@20_low": pytest.approx(0.3 - half, abs=1e-5),
        "over_vectors_ndcg@20_high": pytest.approx(0.3 + half, abs=1e-5),
    }


def test_lists_are_kept_by_the_whole_spec(tmp_path):
    spec, other, varied = (online_retail.make_spec(seed, small=False) for seed in (1, 2, 1))
    online_retail.with_vectors(varied)
    files = [online_retail.kept_lists(tmp_path, each) for each in (spec, other, varied)]
    assert len(set(files)) == 3
    assert online_retail.kept_lists(tmp_path, online_retail.make_spec(1, small=False)) == files[0]
