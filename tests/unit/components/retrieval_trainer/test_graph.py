"""Propagation beside the same in dense numpy, folded tables, users whom the graph does not have."""

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from crossrec.components.errors import DataError
from crossrec.components.features.schema import ITEM_ROW
from crossrec.components.modeling import saving
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.train import build
from tests.unit.components.small_models import ITEMS, make_query, make_schema, make_table, randomise

USERS, SIZE = 9, 4
# Users 3 and 8 and items 6 and 11 met nobody; one pair comes twice.
PAIRS = np.array([[0, 1], [0, 2], [1, 2], [1, 3], [2, 0], [2, 4], [2, 5], [4, 1], [5, 7], [6, 8], [7, 9], [7, 10]])
SEEN = np.concatenate([PAIRS, PAIRS[:1], [[-1, 3], [2, -1]]])


def make_model(normalise=True, layers=2, seed=1, edges=True, query=("user",), user="user", **options):
    config = RetrievalConfig(
        query={"features": query, "output": "sum", "hidden_layers": []},
        item={"features": ["item_id"], "output": "sum", "hidden_layers": []},
        label="clicked",
        embedding_dimension=SIZE,
        dimension=SIZE,
        normalise=normalise,
        graph={"user": user, "history": "recent_items", "layers": layers},
        loss={"negatives": "catalogue", "temperature": 0.5},
        **options,
    )
    model = build(make_schema(), config, make_table())
    randomise(model, seed)
    if edges:
        model.graph.set_edges(SEEN[:, 0], SEEN[:, 1])
    return model, config


def only_users(ids, history=None):
    query = make_query(len(ids))
    none = np.full([len(ids), 2], -1)
    return {
        **query,
        "user": tf.constant(ids, tf.int64)[:, None],
        "recent_items": tf.constant(none if history is None else history, tf.int64),
    }


def light_gcn(users, items, layers):
    """Mean of the layers, with the adjacency matrix of users and items as a whole."""
    adjacency = np.zeros([USERS + ITEMS] * 2)
    for user, item in PAIRS:
        adjacency[user, USERS + item] = adjacency[USERS + item, user] = 1
    degree = np.maximum(adjacency.sum(1), 1)
    adjacency /= np.sqrt(degree[:, None] * degree[None])
    layer = np.concatenate([users, items])
    total = layer.copy()
    for _ in range(layers):
        layer = adjacency @ layer
        total += layer
    return np.split(total / (layers + 1), [USERS])


def layer_zero(model):
    users = model.query_tower({"user": tf.range(USERS, dtype=tf.int64)[:, None]}).numpy()
    return users.astype(float), layer_zero_items(model)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_embeddings_are_the_means_of_the_layers(layers):
    model, _ = make_model(normalise=False, layers=layers)
    users, items = light_gcn(*layer_zero(model), layers)
    model.finish()
    np.testing.assert_allclose(model.embed_queries(only_users(range(USERS))), users, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.embed_catalogue()[:-1], items, rtol=1e-4, atol=1e-6)


def test_the_loss_is_that_of_the_propagated_embeddings():
    model, _ = make_model()
    users, items = light_gcn(*layer_zero(model), 2)
    users /= np.linalg.norm(users, axis=1, keepdims=True)
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    ids, rows = [0, 2, 7, 3], np.array([3, 1, 11, 0])
    scores = users[ids] @ items.T / 0.5
    expected = np.mean(np.log(np.exp(scores).sum(1)) - scores[range(4), rows])
    batch = {**only_users(ids), ITEM_ROW: tf.constant(rows)[:, None]}
    with tf.GradientTape() as tape:
        found = model.compute_loss(batch)
    assert float(found) == pytest.approx(expected, rel=1e-4)
    # A row of one user moves the embeddings of neighbours' neighbours too.
    table = tape.gradient(found, model.query_tower.trainable_weights[0])
    moved = np.abs(tf.convert_to_tensor(table).numpy()).sum(1) > 0
    assert moved[4] and not moved[8], "user 4 shares an item with user 0, user 8 has none"


def test_a_new_user_with_the_items_of_another_gets_the_neighbours_part_of_that_one():
    model, _ = make_model(normalise=False)
    model.finish()
    items = [item for user, item in PAIRS if user == 1]
    zero = layer_zero(model)[0] / 3
    known = model.embed_queries(only_users([1])).numpy() - zero[1]
    new = model.embed_queries(only_users([8], [items])).numpy() - zero[8]
    np.testing.assert_allclose(new, known, rtol=1e-4, atol=1e-6)
    assert np.abs(known).max() > 0.05
    # Of a user in the graph the graph speaks, of one without any items nothing does.
    np.testing.assert_array_equal(
        model.embed_queries(only_users([1], [[9, 10]])), model.embed_queries(only_users([1], [[-1, -1]]))
    )
    np.testing.assert_allclose(model.embed_queries(only_users([8])).numpy(), zero[8:], rtol=1e-5)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_users_without_ids_are_zero_in_layer_zero(layers):
    """Whoever they are in the data, a user is what the recent items say."""
    model, _ = make_model(normalise=False, layers=layers, user=None, query=("likes",), edges=False)
    model.graph.set_edges(SEEN[:, 0] * 10**12 + 5, SEEN[:, 1])
    model.finish()
    own = layer_zero_items(model)
    items = light_gcn(np.zeros([USERS, SIZE]), own, layers)[1]
    np.testing.assert_allclose(model.embed_catalogue()[:-1], items, rtol=1e-4, atol=1e-6)
    query = only_users([3, 5], [[0, -1], [1, 2]])
    query["likes"] = tf.fill([2, 3], tf.constant(-1, tf.int64))
    # The sum of an item's layers before the last one, times their share.
    spread = light_gcn(np.zeros([USERS, SIZE]), own, layers - 1)[1] * layers / (layers + 1)
    expected = [spread[0], (spread[1] + spread[2]) / np.sqrt(2)]
    np.testing.assert_allclose(model.embed_queries(query), expected, rtol=1e-4, atol=1e-6)


def layer_zero_items(model):
    return model._candidates(tf.range(ITEMS), False).numpy().astype(float)


def test_an_item_without_neighbours_stands_where_its_features_put_it():
    model, _ = make_model()
    model.finish()
    catalogue = model.embed_catalogue()
    own = layer_zero(model)[1]
    lonely, met = 6, 2
    unit = own / np.linalg.norm(own, axis=1, keepdims=True)
    np.testing.assert_allclose(catalogue[lonely], unit[lonely], rtol=1e-5)
    assert np.abs(catalogue[met] - unit[met]).max() > 0.05


def test_what_is_measured_in_training_is_as_of_now():
    model, _ = make_model()
    before = model.embed_catalogue()
    randomise(model, 7)
    after = model.embed_catalogue()
    items = light_gcn(*layer_zero(model), 2)[1]
    np.testing.assert_allclose(after[:-1], items / np.linalg.norm(items, axis=1, keepdims=True), rtol=1e-4, atol=1e-6)
    assert np.abs(after - before).max() > 0.1


def test_a_folded_model_comes_back_from_its_files_without_edges(tmp_path):
    model, config = make_model()
    model.finish()
    assert not model.graph.has_edges
    saving.save(str(tmp_path), model, config, [])
    other, _ = make_model(seed=5, edges=False)
    saving.restore(str(tmp_path), other)
    query = only_users([0, 1, 8], [[-1, -1], [4, -1], [4, 2]])
    np.testing.assert_array_equal(other.embed_queries(query), model.embed_queries(query))
    np.testing.assert_array_equal(other.embed_catalogue(), model.embed_catalogue())


def test_context_moves_a_query_beside_what_the_graph_spreads():
    model, _ = make_model(normalise=False, query=("user", "likes"))
    model.finish()
    query = only_users([0, 0])
    query["likes"] = tf.constant([[-1, -1, -1], [2, 3, -1]], tf.int64)
    plain, liking = model.embed_queries(query).numpy()
    difference = (model.query_tower(model._known(query))[1] - model.query_tower(model._known(query))[0]).numpy() / 3
    np.testing.assert_allclose(liking - plain, difference, rtol=1e-4, atol=1e-6)
    assert np.abs(difference).max() > 0.01


@pytest.mark.parametrize(
    ("graph", "named"), [({"user": "likes"}, "graph.user"), ({"user": "user", "history": "likes"}, "graph.history")]
)
def test_features_that_are_no_users_or_no_history_are_refused(graph, named):
    config = RetrievalConfig(query={"features": ["user"]}, item={"features": ["item_id"]}, graph=graph)
    with pytest.raises(DataError, match=f"retrieval.{named}: 'likes'"):
        build(make_schema(), config, make_table())


def test_a_graph_has_layers_and_a_place_for_queries():
    with pytest.raises(ValidationError, match="layers"):
        make_model(layers=0)
    with pytest.raises(ValidationError, match="neither user nor history"):
        RetrievalConfig(query={"features": ["user"]}, item={"features": ["item_id"]}, graph={})
