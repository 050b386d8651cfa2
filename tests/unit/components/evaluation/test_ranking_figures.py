"""Figures of the ranking model, made batch by batch."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.evaluation.graded_metrics import mean_ndcg
from crossrec.components.evaluation.metrics import auc, log_loss
from crossrec.components.evaluation.ranking_figures import Predicted, evaluate_ranking, predict
from crossrec.components.features.schema import (
    CANDIDATE,
    ITEM_ROW,
    POSITION,
    RETRIEVAL_SCORE,
    RETRIEVED,
    label_key,
)
from crossrec.components.ranking_examples.lists import LIST
from crossrec.components.ranking_trainer.config import RankingConfig, TaskConfig
from crossrec.components.ranking_trainer.train import build
from tests.unit.components.small_models import ITEMS, make_query, make_schema, make_table, randomise

TASKS = (TaskConfig(name="click", label="clicked"), TaskConfig(name="buy", label="bought"))


def ranking(clicked, bought, retrieved, probabilities, candidates=None):
    columns = {
        label_key("clicked"): np.array(clicked, np.float32),
        label_key("bought"): np.array(bought, np.float32),
        RETRIEVED: np.array(retrieved),
        CANDIDATE: np.ones(len(clicked)) if candidates is None else np.array(candidates),
    }
    scores = np.array(probabilities, np.float32)
    return evaluate_ranking([Predicted(columns, scores, scores)], TASKS)


def test_logged_rows_are_judged_where_their_labels_vary():
    found = ranking([1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1], [[0.9, 0.2], [0.1, 0.3], [0.6, 0.9], [0.99, 0.99]])
    assert found["ranking/click/auc"] == 1.0 and found["ranking/buy/auc"] == 1.0
    assert found["ranking/click/log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.9, 0.6])), rel=1e-5)
    assert found["ranking/click/calibration"] == pytest.approx(np.mean([0.9, 0.1, 0.6]) / (2 / 3), rel=1e-5)


def test_candidates_of_retrieval_are_the_negatives_where_every_logged_row_is_a_positive():
    found = ranking([1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [[0.9, 0.5], [0.2, 0.5], [0.5, 0.5], [0.1, 0.5]])
    assert found["ranking/click/auc"] == 0.75 and found["ranking/buy/auc"] == 0.5


def test_a_positive_that_retrieval_did_not_find_is_no_question_to_the_ranking():
    probabilities = [[0.9, 0.5], [0.2, 0.5], [0.5, 0.5], [0.1, 0.5]]
    found = ranking([1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], probabilities, [1, 0, 1, 1])
    assert found["ranking/click/auc"] == 1.0
    logged = ranking([1, 0, 1, 0], [0] * 4, [0, 0, 0, 1], probabilities, [1, 1, 0, 1])
    assert logged["ranking/click/auc"] == 1.0, "logged rows with both labels all count"


def test_a_task_whose_labels_are_all_equal_has_no_figures():
    found = ranking([1, 0], [0, 0], [0, 0], [[0.9, 0.1], [0.2, 0.1]])
    assert {name.split("/")[1] for name in found} == {"click"}


def rows_of(seed, count=700):
    """Rows of random lists, clicked the more often the higher their score."""
    rng = np.random.default_rng(seed)
    scores = rng.random((count, 2)).astype(np.float32).round(2)
    columns = {
        label_key("clicked"): (rng.random(count) < scores[:, 0]).astype(np.float32),
        label_key("grade"): rng.integers(0, 4, count).astype(np.float32),
        RETRIEVED: rng.integers(0, 2, count),
        CANDIDATE: rng.integers(0, 2, count),
        LIST: np.sort(rng.integers(0, 90, count)),
    }
    return Predicted(columns, scores, (scores / 2).astype(np.float32))


def cut(whole, borders):
    """The same rows in batches."""
    for rows in np.split(np.arange(len(whole.probabilities)), borders):
        columns = {name: values[rows] for name, values in whole.columns.items()}
        yield Predicted(columns, whole.probabilities[rows], whole.at_logged_places[rows])


def list_borders(whole, every):
    """Where batches of whole lists begin."""
    return np.flatnonzero(np.diff(whole.columns[LIST]))[::every] + 1


BOTH = (TaskConfig(name="click", label="clicked"), TaskConfig(name="worth", label="grade", type="graded"))


def test_figures_are_those_of_all_rows_at_once():
    whole = rows_of(0)
    logged = whole.columns[RETRIEVED] == 0
    labels, grades = whole.columns[label_key("clicked")][logged], whole.columns[label_key("grade")][logged]
    first, placed = whole.probabilities[logged], whole.at_logged_places[logged]
    found = evaluate_ranking(cut(whole, list_borders(whole, 7)), BOTH, (3, 10))
    assert found["ranking/click/auc"] == auc(labels, first[:, 0]), "counted, hence the same to the last bit"
    assert found["ranking/click/log_loss"] == pytest.approx(log_loss(labels, placed[:, 0]), rel=1e-12)
    mean = placed[:, 0].astype(np.float64).sum() / labels.sum()
    assert found["ranking/click/calibration"] == pytest.approx(mean, rel=1e-12)
    for k in (3, 10):
        expected = mean_ndcg(first[:, 1], grades, whole.columns[LIST][logged], k)
        assert found[f"ranking/worth/ndcg@{k}"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("every", [1, 3, 1000])
def test_batches_of_any_size_give_the_same(every):
    whole = rows_of(1)
    assert evaluate_ranking(cut(whole, list_borders(whole, every)), BOTH, (5,)) == {
        name: pytest.approx(value, rel=1e-12) for name, value in evaluate_ranking([whole], BOTH, (5,)).items()
    }


def test_which_rows_count_is_settled_by_all_of_them():
    """The only logged negative comes last: what was counted of candidates until then is left alone."""
    whole = rows_of(2, 60)
    whole.columns[label_key("clicked")][whole.columns[RETRIEVED] == 0] = 1.0
    whole.columns[RETRIEVED][-1], whole.columns[label_key("clicked")][-1] = 0, 0.0
    logged = whole.columns[RETRIEVED] == 0
    found = evaluate_ranking(cut(whole, [10, 20, 59]), BOTH[:1])
    expected = auc(whole.columns[label_key("clicked")][logged], whole.probabilities[logged, 0])
    assert found["ranking/click/auc"] == expected


def test_a_model_that_has_diverged_is_told():
    whole = rows_of(3, 40)
    whole.probabilities[-1] = np.nan
    whole.columns[RETRIEVED][-1] = 0
    with pytest.raises(ValueError, match=r"scores: NaN in 1 of .* diverged"):
        evaluate_ranking(cut(whole, [30]), BOTH[:1])


def test_one_pass_gives_both_places():
    """As two calls of the model; a batch of one among them."""
    config = RankingConfig.model_validate(
        {
            "features": ["limit", "price"],
            "crosses": [],
            "tasks": [{"name": "click", "label": "clicked"}],
            "embedding_dimension": 4,
            "interactions": [{"type": "mlp", "deep": {"layers": [6]}}],
        }
    )
    model = build(make_schema(), config, make_table())
    randomise(model)
    rng = np.random.default_rng(0)
    batches = [
        {
            **make_query(count, count),
            ITEM_ROW: rng.integers(0, ITEMS, (count, 1)),
            RETRIEVAL_SCORE: rng.random((count, 1)).astype(np.float32),
            POSITION: rng.integers(0, 9, (count, 1)),
        }
        for count in (5, 1)
    ]
    batches = [{name: tf.convert_to_tensor(values) for name, values in batch.items()} for batch in batches]
    for batch, found in zip(batches, predict(model, batches)):
        given = (batch, batch[ITEM_ROW], batch[RETRIEVAL_SCORE])
        np.testing.assert_allclose(found.probabilities, model.probabilities(*given)[:, 0], rtol=1e-6)
        np.testing.assert_allclose(
            found.at_logged_places, model.probabilities(*given, batch[POSITION])[:, 0], rtol=1e-6
        )
        assert (found.probabilities != found.at_logged_places).any(), "places matter to this model"
        assert set(found.columns) == {ITEM_ROW, RETRIEVAL_SCORE, POSITION}
