"""Thresholds, the report's file, and the figures of lists and probabilities."""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.candidate_indexer.report import IndexReport
from crossrec.components.errors import DataError
from crossrec.components.evaluation.bundle_lists import ask
from crossrec.components.evaluation.config import EvaluationConfig, ThresholdConfig
from crossrec.components.evaluation.evaluate import evaluate, evaluate_lists
from crossrec.components.evaluation.metrics import RaggedItems
from crossrec.components.evaluation.queries import Queries
from crossrec.components.evaluation.report import Report, judge
from crossrec.components.features.item_table import ItemTable

METRICS = {"end_to_end/ndcg@10": 0.3, "popularity/ndcg@10": 0.1, "ranking/click/auc": math.nan}


@pytest.mark.parametrize(
    ("bound", "passed"),
    [
        ({"minimum": 0.3}, True),
        ({"minimum": 0.31}, False),
        ({"maximum": 0.3}, True),
        ({"maximum": 0.29}, False),
        ({"times_popularity": 2.9}, True),
        ({"times_popularity": 3.1}, False),
    ],
)
def test_a_threshold_is_met_or_not(bound, passed):
    (verdict,) = judge(METRICS, (ThresholdConfig(metric="end_to_end/ndcg@10", **bound),))
    assert verdict.passed == passed
    assert verdict.metric == "end_to_end/ndcg@10" and verdict.value == 0.3


def test_each_bound_has_a_verdict_and_one_failure_withholds_the_blessing():
    threshold = ThresholdConfig(metric="end_to_end/ndcg@10", minimum=0.1, maximum=0.2, times_popularity=2)
    verdicts = judge(METRICS, (threshold,))
    assert [verdict.passed for verdict in verdicts] == [True, False, True]
    assert "0.2000" in verdicts[2].bound
    assert not Report(metrics=METRICS, slices={}, counts={}, verdicts=verdicts).blessed
    assert Report(metrics=METRICS, slices={}, counts={}, verdicts=verdicts[:1]).blessed


@pytest.mark.parametrize("bound", [{"minimum": 0.0}, {"maximum": 1.0}])
def test_a_figure_that_is_no_number_fails(bound):
    (verdict,) = judge(METRICS, (ThresholdConfig(metric="ranking/click/auc", **bound),))
    assert not verdict.passed


def test_a_metric_that_was_not_measured_is_named_with_those_that_were():
    with pytest.raises(DataError, match=r"'end_to_end/mrr@10' was not measured.*end_to_end/ndcg@10, popularity"):
        judge(METRICS, (ThresholdConfig(metric="end_to_end/mrr@10", minimum=0.1),))


def test_a_report_comes_back_from_its_file_figures_that_are_no_numbers_included(tmp_path):
    verdicts = judge(METRICS, (ThresholdConfig(metric="ranking/click/auc", minimum=0.5),))
    report = Report(metrics=METRICS, slices={"device=ü": {"x": 1.0}}, counts={"queries": 3}, verdicts=verdicts)
    report.write(str(tmp_path / "new"))
    found = Report.read(str(tmp_path / "new"))
    assert found.slices == report.slices and found.counts == report.counts and not found.blessed
    assert found.metrics["end_to_end/ndcg@10"] == 0.3 and math.isnan(found.metrics["ranking/click/auc"])
    assert math.isnan(found.verdicts[0].value)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"k": []}, "at least 1"),
        ({"k": [0, 10]}, "Cut-offs begin at 1"),
        ({"thresholds": [{"metric": "end_to_end/ndcg@10"}]}, "has no bound"),
        ({"thresholds": [{"metric": "ranking/a/auc", "times_popularity": 2}]}, "goes with end_to_end"),
        ({"k": [5]}, "Add the cut-off to k"),
    ],
)
def test_impossible_evaluations_are_refused(values, complaint):
    with pytest.raises(ValueError, match=complaint):
        EvaluationConfig.model_validate(values)


class FixedBundle:
    """Answers every request with the same list, what is excluded left out; remembers what it was asked."""

    def __init__(self, order, size):
        self.order, self.size, self.asked = order, size, []
        call = functools.partial(self.answer)
        call.structured_input_signature = ((), {"exclude_items": tf.TensorSpec([None, None], tf.string)})
        self.signatures = {name: call for name in ("recommend", "retrieve")}

    def answer(self, exclude_items, **inputs):
        self.asked.append(inputs)
        rows = []
        for excluded in exclude_items.numpy():
            kept = [item for item in self.order if item not in set(excluded)][: self.size]
            rows.append(kept + [b""] * (self.size - len(kept)))
        return {"item_ids": tf.constant(rows)}


IDS = np.array(["a", "b", "c", "d", "ü"], object)
QUERIES = Queries(
    inputs={
        "device": np.array([b"pc"] * 60 + [b"tv"] * 70 + [b"\xff"] * 20, object),
        "limit": np.zeros(150, np.float32),
    },
    relevant=RaggedItems.from_lists([[1]] * 100 + [[4, 2]] * 50),
    excluded=RaggedItems.from_lists([[0, 4]] * 75 + [[]] * 75),
)


def test_asking_a_bundle_gives_rows_and_padding_and_hands_over_the_inputs():
    bundle = FixedBundle(["ü".encode(), b"a", b"b", b"c", b"gone"], 5)
    rows = ask(bundle, "recommend", QUERIES, IDS)
    assert rows.tolist() == [[1, 2, -1, -1, -1]] * 75 + [[4, 0, 1, 2, -1]] * 75
    asked = np.concatenate([inputs["device"].numpy() for inputs in bundle.asked])
    assert asked.tolist() == QUERIES.inputs["device"].tolist()


def table():
    return ItemTable(IDS, {}, np.array([5, 50, 3, 2, 1]), {})


def test_means_and_slices_are_those_of_the_queries():
    bundle = FixedBundle([b"b", b"c", b"a", b"d", "ü".encode()], 3)
    config = EvaluationConfig(k=(1, 3), slices=("device",), thresholds=())
    means, slices = evaluate_lists(bundle, table(), QUERIES, config)
    hits = np.array([1.0] * 100 + [0.0] * 50)
    assert means["end_to_end/recall@1"] == means["retrieval/recall@1"] == pytest.approx(hits.mean())
    assert means["popularity/hit_rate@1"] == pytest.approx(hits.mean())
    # c is second for the last fifty, who want c and ü; no more than half of them can be found.
    assert means["end_to_end/recall@3"] == pytest.approx((100 + 50 * 0.5) / 150)
    assert set(slices) == {"device=pc", "device=tv"}, "slices of fewer than 30 queries say nothing"
    assert slices["device=tv"]["end_to_end/recall@1"] == pytest.approx(40 / 70)
    assert slices["device=tv"]["queries"] == 70
    weighted = sum(slices[name]["queries"] * slices[name]["end_to_end/mrr@3"] for name in slices)
    assert weighted < means["end_to_end/mrr@3"] * 150


def test_a_catalogue_smaller_than_the_cut_off_still_has_a_figure():
    bundle = FixedBundle([b"b", b"c", b"a", b"d", "ü".encode()], 5)
    threshold = ThresholdConfig(metric="end_to_end/ndcg@10", times_popularity=1.0)
    report = evaluate(bundle, table(), QUERIES, {}, EvaluationConfig(k=(5, 10), thresholds=(threshold,)))
    assert report.metrics["end_to_end/recall@10"] == report.metrics["end_to_end/recall@5"]
    assert report.counts == {"queries": 150, "items": 5, "relevant": 200}
    assert len(report.verdicts) == 1


@pytest.mark.parametrize(("recall", "blessed"), [(0.95, True), (0.949, False)])
def test_an_index_that_misses_its_recall_is_not_blessed(recall, blessed):
    index = IndexReport(type="partitioned", items=5, dimension=2, depth=3, recall=recall, recall_target=0.95)
    report = evaluate(
        FixedBundle([b"a", b"b"], 2), table(), QUERIES, {}, EvaluationConfig(k=(2,), thresholds=()), index
    )
    assert report.metrics["index/recall@3"] == recall and report.blessed is blessed
    assert [verdict.metric for verdict in report.verdicts] == ["index/recall@3"]
    exact = index.model_copy(update={"type": "exact"})
    report = evaluate(
        FixedBundle([b"a", b"b"], 2), table(), QUERIES, {}, EvaluationConfig(k=(2,), thresholds=()), exact
    )
    assert report.blessed and "index/recall@3" not in report.metrics


def test_asking_with_nothing_excluded():
    queries = Queries({"device": QUERIES.inputs["device"]}, QUERIES.relevant, RaggedItems.from_lists([[]] * 150))
    assert ask(FixedBundle([b"a"], 1), "retrieve", queries, IDS).tolist() == [[0]] * 150
