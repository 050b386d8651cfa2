import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.errors import DataError
from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP, USER
from crossrec.components.modeling.training import TrainingConfig
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.requests import (
    TARGETS,
    Requests,
    RequestsConfig,
    make_batch,
    read_requests,
    request_batches,
)
from crossrec.components.retrieval_trainer.train import build
from tests.unit.components.small_models import make_query, make_schema, make_table, randomise


def make_requests(sizes, width=6, known=2, seed=0):
    """Requests of the given sizes whose items are all different: 100, 101, …; histories of ``known`` items."""
    rng = np.random.default_rng(seed)
    history = np.full([len(sizes), width], -1)
    history[:, :known] = rng.integers(0, 50, [len(sizes), known])
    return Requests(
        {"recent_items": history, "user": np.arange(len(sizes))[:, None]},
        70 + np.arange(len(sizes)),
        1000 + np.arange(len(sizes)),
        np.concatenate([[0], np.cumsum(sizes)]),
        100 + np.arange(sum(sizes)),
    )


def test_rows_of_one_user_and_moment_are_one_request():
    rng = np.random.default_rng(0)
    users, moments, items = rng.integers(0, 4, 60), rng.integers(0, 3, 60), rng.integers(0, 9, 60)
    columns = {
        USER: users[:, None],
        TIMESTAMP: moments[:, None],
        ITEM_ROW: items[:, None],
        # A function of user and moment, as query features are.
        "recent_items": (users * 10 + moments)[:, None] + np.arange(3)[None],
    }
    found = read_requests(tf.data.Dataset.from_tensor_slices(columns).batch(7), ["recent_items"])
    expected = {}
    for user, moment, item in zip(users, moments, items):
        expected.setdefault((user, moment), []).append(item)
    assert len(found) == len(expected)
    for request in range(len(found)):
        user, moment = divmod(int(found.features["recent_items"][request, 0]), 10)
        assert (found.users[request], found.moments[request]) == (user, moment)
        mine = found.items[found.starts[request] : found.starts[request + 1]]
        assert sorted(mine) == sorted(expected[user, moment])


def test_a_split_without_positives_is_refused():
    empty = {name: np.zeros([0, 1], np.int64) for name in (USER, TIMESTAMP, ITEM_ROW)}
    with pytest.raises(DataError, match="data.split"):
        read_requests(tf.data.Dataset.from_tensor_slices(empty).batch(2), [])


@pytest.mark.parametrize("targets", [3, 50])
def test_companions_join_the_history_and_the_rest_are_targets(targets):
    requests = make_requests([1, 2, 9, 30, 4])
    config = RequestsConfig(companions=0.9, targets=targets)
    rng = np.random.default_rng(5)
    moved = 0
    for _ in range(40):
        batch = make_batch(requests, np.array([4, 2, 0, 3, 1]), config, rng)
        for place, request in enumerate([4, 2, 0, 3, 1]):
            own = set(requests.items[requests.starts[request] : requests.starts[request + 1]])
            history, target = batch["recent_items"][place], batch[TARGETS][place]
            companions = [item for item in history if item >= 100]
            wanted = [item for item in target if item >= 0]
            assert set(companions) | set(wanted) <= own and not set(companions) & set(wanted)
            assert len(wanted) == min(targets, len(own) - len(companions)) >= 1
            assert (target[len(wanted) :] == -1).all()
            known = requests.features["recent_items"][request]
            assert list(history) == (companions + list(known))[: len(known)], "companions come first"
            # What statistics of folds of users, or of parts of time, are looked up with.
            assert batch[USER][place] == requests.users[request]
            assert batch[TIMESTAMP][place] == requests.moments[request]
            moved += len(companions)
    assert moved > 200


def test_without_companions_the_history_stays_and_all_items_are_targets():
    requests = make_requests([3, 5])
    batch = make_batch(requests, np.array([0, 1]), RequestsConfig(companions=0.0, targets=5), np.random.default_rng(0))
    np.testing.assert_array_equal(batch["recent_items"], requests.features["recent_items"])
    np.testing.assert_array_equal(np.sort(batch[TARGETS]), [[-1, -1, 100, 101, 102], [103, 104, 105, 106, 107]])


def test_every_pass_sees_every_request_in_another_way_and_a_seed_says_how():
    requests, schema = make_requests([4] * 25), make_schema()

    def passes(seed):
        training = TrainingConfig(batch_size=10, seed=seed)
        dataset = request_batches(requests, schema, RequestsConfig(), training)
        return [list(dataset.as_numpy_iterator()) for _ in range(2)]

    first, second = passes(1)
    assert [len(batch["user"]) for batch in first] == [10, 10, 5]
    for one in (first, second):
        assert sorted(np.concatenate([batch["user"][:, 0] for batch in one])) == list(range(25))
    assert any((a[TARGETS] != b[TARGETS]).any() for a, b in zip(first, second))
    for a, b in zip(first + second, sum(passes(1), [])):
        np.testing.assert_array_equal(a[TARGETS], b[TARGETS])
    assert any((a[TARGETS] != b[TARGETS]).any() for a, b in zip(first, passes(2)[0]))


def test_companions_need_recent_items():
    with pytest.raises(DataError, match="retrieval.requests.history: 'user'.*recent_items"):
        request_batches(make_requests([2]), make_schema(), RequestsConfig(history="user"), TrainingConfig())


@pytest.mark.parametrize("negatives", ["in_batch", "catalogue"])
def test_a_request_costs_what_its_targets_cost_as_rows(negatives):
    config = RetrievalConfig(
        query={"features": ["user", "recent_items"], "pooling": "root"},
        item={"features": ["item_id"], "hidden_layers": []},
        label="clicked",
        loss={"negatives": negatives},
    )
    model = build(make_schema(), config, make_table())
    randomise(model, 2)
    query = make_query(3)
    targets = np.array([[4, 7, -1], [2, -1, -1], [0, 5, 9]])
    owners, columns = np.nonzero(targets >= 0)
    rows = {name: tf.gather(values, owners) for name, values in query.items()}
    rows[ITEM_ROW] = tf.constant(targets[owners, columns], tf.int64)[:, None]
    as_requests = model.compute_loss({**query, TARGETS: tf.constant(targets, tf.int64)})
    assert float(as_requests) == pytest.approx(float(model.compute_loss(rows)), rel=1e-5)
