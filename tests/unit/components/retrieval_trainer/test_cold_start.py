"""New items and new users: what no training saw is found by content, and by recent items."""

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from crossrec.components.errors import DataError
from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import ITEM_ROW, build_schema
from crossrec.components.modeling.cold_start import ColdStartConfig, hide_unknown, without_unseen
from crossrec.components.modeling.lazy_adam import LazyAdam
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.train import build
from tests.unit.components.small_models import make_schema, make_table

ITEMS, KINDS, USERS, NEW = 120, 6, 60, 20
"""Item n is of kind n % 6; user n wants kind n % 6. The last 20 items, and users 50 and on, come after training."""
FEATURES = FeaturesConfig.model_validate(
    {
        "query": {"user": {"type": "categorical"}, "recent_items": {"type": "recent_items", "max_length": 4}},
        "item": {"item_id": {"type": "categorical"}, "kind": {"type": "categorical"}},
    }
)
OLD_USERS = 50


def make_world():
    cardinalities = {"user": USERS + 2, "item_id": ITEMS + 2, "kind": KINDS + 2, "recent_items": ITEMS}
    schema = build_schema(FEATURES, cardinalities, ("item_id", ITEMS), ("clicked",))
    ids = np.empty(ITEMS, object)
    ids[:] = [f"{n:03}" for n in range(ITEMS)]
    kinds = np.append(np.arange(ITEMS) % KINDS + 2, 1)[:, None]
    frequencies = np.where(np.arange(ITEMS) < ITEMS - NEW, 10, 0)
    own = np.append(np.arange(ITEMS) + 2, 1)[:, None]
    return schema, ItemTable(ids, {"item_id": own, "kind": kinds}, frequencies, {})


def interactions(rng, rows, users, items):
    """Users with four recent items of the kind that they want, and one more of it."""
    user = rng.choice(users, rows)
    of_kind = [items[items % KINDS == kind] for kind in range(KINDS)]
    drawn = np.stack([rng.choice(of_kind[wanted], 5) for wanted in user % KINDS])
    return {
        "user": (user + 2)[:, None],
        "recent_items": drawn[:, :4],
        ITEM_ROW: drawn[:, 4:],
    }


@pytest.fixture(scope="module", params=[True, False], ids=["cold_start", "without"])
def trained(request):
    """Users wanted a kind by 90 % of the rows; with ids that can be left out, or not."""
    cold = {"cold_start": {"features": ["item_id"], "dropout": 0.5}} if request.param else {}
    cold_user = {"cold_start": {"features": ["user"], "dropout": 0.5}} if request.param else {}
    config = RetrievalConfig(
        query={"features": ["user", "recent_items"], "hidden_layers": [], "output": "sum", **cold_user},
        item={"features": ["item_id", "kind"], "hidden_layers": [], "output": "sum", **cold},
        label="clicked",
        embedding_dimension=8,
        dimension=8,
        loss={"negatives": "catalogue", "temperature": 0.2},
    )
    schema, table = make_world()
    tf.keras.utils.set_random_seed(3)
    model = build(schema, config, table)
    model.compile(optimizer=LazyAdam(0.02))
    rng = np.random.default_rng(0)
    rows = interactions(rng, 6000, np.arange(OLD_USERS), np.arange(ITEMS - NEW))
    data = tf.data.Dataset.from_tensor_slices(rows).batch(100)
    model.fit(data, epochs=3, verbose=0)
    return request.param, model


def share_of_wanted(model, query, items):
    """How much of the first three of the given items are of the kind wanted; by chance a sixth."""
    scores = model.embed_queries(query).numpy() @ model.embed_catalogue()[items].T
    best = items[np.argsort(-scores, axis=1)[:, :3]]
    wanted = (query["user"].numpy() - 2) % KINDS
    return np.mean(best % KINDS == wanted)


def ask(users, seed=1, known=True):
    query = interactions(np.random.default_rng(seed), 60, users, np.arange(ITEMS - NEW))
    query = {name: tf.constant(values) for name, values in query.items() if name != ITEM_ROW}
    if not known:
        query["recent_items"] = tf.fill(query["recent_items"].shape, tf.constant(-1, tf.int64))
    return query


def test_new_items_are_found_by_their_content(trained):
    """With what an id means for new items left in, each of them lies somewhere of its own."""
    cold, model = trained
    found = share_of_wanted(model, ask(np.arange(OLD_USERS)), np.arange(ITEMS - NEW, ITEMS))
    if cold:
        assert found > 0.95
        catalogue = model.embed_catalogue()
        np.testing.assert_allclose(catalogue[ITEMS - 1], catalogue[ITEMS - 1 - KINDS], rtol=1e-5)
    else:
        assert found < 0.95


def test_new_users_are_found_by_their_recent_items(trained):
    cold, model = trained
    query = ask(np.arange(OLD_USERS, USERS))
    # The id of unknown values, which is what a transform gives.
    unknown = {**query, "user": tf.ones_like(query["user"])}
    scores = model.embed_queries(unknown).numpy() @ model.embed_catalogue()[: ITEMS - NEW].T
    right = np.mean(np.argmax(scores, 1) % KINDS == (query["user"].numpy()[:, 0] - 2) % KINDS)
    assert right > 0.9 if cold else right > 1 / KINDS


def test_known_users_are_known_without_recent_items(trained):
    _, model = trained
    found = share_of_wanted(model, ask(np.arange(OLD_USERS), known=False), np.arange(ITEMS - NEW))
    assert found > 0.9


def test_missing_unknown_and_dropped_ids_count_as_nothing():
    config = ColdStartConfig(features=["user"], dropout=0.25)
    ids = tf.constant([[0], [1], [2], [9]], tf.int64)
    features = {"user": ids, "other": ids}
    found = hide_unknown(features, config, training=False)
    assert found["user"].numpy()[:, 0].tolist() == [-1, -1, 2, 9] and found["other"] is ids
    tf.random.set_seed(2)
    many = tf.tile(ids, [2000, 1])
    both = hide_unknown({"a": many, "b": many}, ColdStartConfig(features=["a", "b"], dropout=0.25), training=True)
    left = both["a"].numpy()[:, 0] >= 0
    known = many.numpy()[:, 0] >= 2
    assert abs(left[known].mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / known.sum())
    np.testing.assert_array_equal(both["a"], both["b"])


def test_only_items_without_a_positive_lose_their_ids():
    table = make_table(frequencies=[3, 0] + [1] * 10)
    found = without_unseen(table, ColdStartConfig(features=["item_id"]))
    expected = table.features["item_id"].copy()
    expected[[1, -1]] = -1
    np.testing.assert_array_equal(found.features["item_id"], expected)
    np.testing.assert_array_equal(found.features["tags"], table.features["tags"])
    assert without_unseen(table, None) is table


def test_cold_features_stand_on_the_tower():
    with pytest.raises(ValidationError, match="'item_id'.*are not on this tower"):
        RetrievalConfig(query={"features": ["user"], "cold_start": {"features": ["item_id"]}}, item={"features": ["k"]})


def test_only_ids_can_be_done_without():
    towers = {"query": {"features": ["user"]}, "item": {"features": ["price"], "cold_start": {"features": ["price"]}}}
    with pytest.raises(DataError, match="'price' has no ids"):
        build(make_schema(), RetrievalConfig(**towers), make_table())
