import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.loss import without
from crossrec.components.retrieval_trainer.requests import TARGETS, Requests, RequestsConfig
from crossrec.components.retrieval_trainer.train import build, request_ndcg
from tests.unit.components.small_models import ITEMS, make_query, make_schema, make_table, randomise

TOWERS = {"query": {"features": ["user", "recent_items"]}, "item": {"features": ["item_id"]}}


def make_model(new_items_only):
    config = RetrievalConfig(
        **TOWERS,
        label="clicked",
        loss={"negatives": "catalogue", "temperature": 1.0},
        requests={"new_items_only": new_items_only},
    )
    model = build(make_schema(), config, make_table())
    randomise(model, 5)
    return model, config


def test_without_takes_the_items_of_each_row_only():
    scores = np.arange(15, dtype=np.float32).reshape(3, 5)
    found = without(tf.constant(scores), tf.constant([[1, -1, 4], [-1, -1, -1], [0, 0, 2]], tf.int64)).numpy()
    gone = np.zeros([3, 5], bool)
    gone[0, [1, 4]] = gone[2, [0, 2]] = True
    np.testing.assert_array_equal(found[~gone], scores[~gone])
    assert (found[gone] < -1e8).all() and found.shape == (3, 5)


@pytest.mark.parametrize("new_items_only", [True, False])
def test_the_history_is_a_candidate_only_where_it_may_be_wanted(new_items_only):
    model, _ = make_model(new_items_only)
    query = make_query(4, seed=3)
    query["recent_items"] = tf.constant([[1, 2], [5, -1], [-1, -1], [0, 11]], tf.int64)
    targets = np.array([[3, 4], [2, -1], [9, 0], [1, -1]])
    scores = model.embed_queries(query).numpy().astype(float) @ model.embed_catalogue()[:-1].T
    if new_items_only:
        for row, history in enumerate(query["recent_items"].numpy()):
            scores[row, history[history >= 0]] = -np.inf
    log_probabilities = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    rows, columns = np.nonzero(targets >= 0)
    expected = -log_probabilities[rows, targets[rows, columns]].mean()
    found = model.compute_loss({**query, TARGETS: tf.constant(targets, tf.int64)})
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("new_items_only", [True, False])
def test_ndcg_of_requests(new_items_only):
    model, config = make_model(new_items_only)
    query = {name: values.numpy() for name, values in make_query(30, seed=6).items()}
    rng = np.random.default_rng(0)
    wanted = [rng.choice(ITEMS, rng.integers(1, 5), replace=False) for _ in range(30)]
    starts = np.concatenate([[0], np.cumsum([len(items) for items in wanted])])
    requests = Requests(query, np.arange(30), np.zeros(30, np.int64), starts, np.concatenate(wanted))
    scores = model.embed_queries(query).numpy() @ model.embed_catalogue()[:-1].T
    expected = []
    for row, items in enumerate(wanted):
        order = np.argsort(-scores[row], kind="stable")
        if new_items_only:
            order = [item for item in order if item not in query["recent_items"][row]]
        gains = [float(item in items) / np.log2(place + 2) for place, item in enumerate(order[:3])]
        best = sum(1 / np.log2(place + 2) for place in range(min(3, len(items))))
        expected.append(sum(gains) / best)
    assert request_ndcg(model, requests, config.requests, 3) == pytest.approx(np.mean(expected), abs=1e-6)


def test_the_history_leaves_the_catalogue_only():
    with pytest.raises(ValidationError, match="negatives: catalogue"):
        RetrievalConfig(**TOWERS, requests=RequestsConfig(new_items_only=True))
