"""The graph filter beside the same in dense numpy, its part in scores and loss, and who has a vector."""

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError
from scipy import sparse

from crossrec.components.errors import DataError
from crossrec.components.features.schema import ITEM_ROW
from crossrec.components.modeling import saving
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.graph_filter import (
    GraphFilterConfig,
    filter_vectors,
    singular_vectors,
)
from crossrec.components.retrieval_trainer.train import build
from tests.unit.components.small_models import ITEMS, make_query, make_schema, make_table, randomise

OFFSET, OF_HISTORY, OF_USER, OF_ITEM, WEIGHT, TEMPERATURE = 2.0, 0.8, 1.1, 0.3, 4.0, 0.5
# Item 6 met nobody; one pair comes twice, and two are of no user or no item.
PAIRS = np.array([[0, 1], [0, 2], [1, 2], [1, 3], [2, 0], [2, 4], [2, 5], [4, 1], [5, 7], [6, 8], [7, 9], [7, 10]])
SEEN = np.concatenate([PAIRS, PAIRS[:1], [[-1, 3], [2, -1]]])


def make_config(**changes):
    exponents = {"history_exponent": OF_HISTORY, "user_exponent": OF_USER, "item_exponent": OF_ITEM}
    options = {"history": "recent_items", "dimension": 5, "degree_offset": OFFSET, "weight": WEIGHT}
    return GraphFilterConfig(**{**options, **exponents, **changes})


def make_model(fitted=True, **changes):
    config = RetrievalConfig(
        query={"features": ["likes"], "hidden_layers": []},
        item={"features": ["item_id"], "hidden_layers": []},
        label="clicked",
        embedding_dimension=4,
        dimension=3,
        graph_filter=make_config(),
        **{"loss": {"negatives": "catalogue", "temperature": TEMPERATURE}, **changes},
    )
    model = build(make_schema(), config, make_table())
    randomise(model, 1)
    if fitted:
        model.graph_filter.fit(SEEN[:, 0], SEEN[:, 1])
    return model, config


def dense_filter(offset=OFFSET):
    """What users score, and item-to-item scores: row i is what a query with item i alone gives all items."""
    matrix = np.zeros([8, ITEMS])
    matrix[PAIRS[:, 0], PAIRS[:, 1]] = 1
    of_user, of_item = matrix.sum(1), matrix.sum(0)
    between = np.zeros([ITEMS, ITEMS])
    for i, j in np.ndindex(ITEMS, ITEMS):
        for u in range(8):
            if matrix[u, i] and matrix[u, j]:
                weight = (of_item[i] + offset) ** OF_HISTORY * (of_user[u] + offset) ** OF_USER
                between[i, j] += 1 / weight / (of_item[j] + offset) ** OF_ITEM
    with_items = of_user > 0
    return (matrix / np.sqrt(np.maximum(of_user, 1) + offset)[:, None] @ between)[with_items], between


@pytest.mark.parametrize("dimension", [1, 3, 7])
def test_vectors_score_as_the_projected_filter_does(dimension):
    items, neighbours = filter_vectors(SEEN[:, 0] * 10**12 + 7, SEEN[:, 1], ITEMS, make_config(dimension=dimension))
    scores, between = dense_filter()
    directions = np.linalg.svd(scores)[2][:dimension].T
    expected = between @ directions @ directions.T
    # Signs of vectors are free, products are not, nor is their common size.
    found = neighbours @ items.T
    np.testing.assert_allclose(found / np.linalg.norm(found), expected / np.linalg.norm(expected), atol=1e-5)
    assert not items[6].any() and not neighbours[6].any()


def test_all_directions_give_the_filter_itself():
    """Seven users have items, so seven directions hold all that their scores say."""
    items, neighbours = filter_vectors(SEEN[:, 0], SEEN[:, 1], ITEMS, make_config(dimension=7, degree_offset=0.0))
    _, between = dense_filter(offset=0.0)
    histories = np.zeros([8, ITEMS])
    histories[PAIRS[:, 0], PAIRS[:, 1]] = 1
    found, expected = histories @ neighbours @ items.T, histories @ between
    np.testing.assert_allclose(found / np.linalg.norm(found), expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.parametrize(
    ("exponent", "pairs", "history", "ratio"),
    [
        # Item 0 has three users, item 1 has one; 2 goes with the one, 3 with the other.
        ("history_exponent", [[0, 0], [0, 2], [1, 0], [1, 2], [2, 0], [2, 2], [3, 1], [3, 3]], [0, 1], 3),
        # Users 0 and 1 met 2 beside item 0, user 2 met 3; two more know 2, so it has four users.
        ("item_exponent", [[0, 0], [0, 2], [1, 0], [1, 2], [2, 0], [2, 3], [3, 2], [4, 2]], [0], 4),
        # A user of five items met 2 beside item 0, a user of two items 3.
        ("user_exponent", [[0, 0], [0, 2], [0, 4], [0, 5], [0, 6], [1, 0], [1, 3]], [0], 2.5),
    ],
)
def test_a_higher_exponent_favours_the_rare(exponent, pairs, history, ratio):
    """From 0 to 1, what the rarer one says counts more by as much as it is rarer."""
    shares = []
    for value in (0.0, 1.0):
        config = make_config(dimension=8, degree_offset=0.0, **{exponent: value})
        items, neighbours = filter_vectors(*np.array(pairs).T, 7, config)
        scores = neighbours[history].sum(0) @ items.T
        shares.append(scores[3] / scores[2])
    assert shares[1] / shares[0] == pytest.approx(ratio, rel=1e-3)


def test_singular_vectors_are_those_of_a_larger_product():
    """Ten directions stand out of noise; the search for them starts from 42 of 200."""
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.normal(size=(rows, 10)))[0] for rows in (300, 200))
    dense = (left * np.arange(20, 10, -1)) @ right.T
    dense += np.where(rng.random(dense.shape) < 0.05, rng.normal(size=dense.shape), 0)
    other = np.diag(rng.uniform(0.9, 1.1, 200))
    values, vectors = singular_vectors([sparse.csr_matrix(part.astype(np.float32)) for part in (dense, other)], 10)
    _, expected, rows = np.linalg.svd(dense @ other)
    np.testing.assert_allclose(values, expected[:10], rtol=1e-4)
    np.testing.assert_allclose(vectors @ vectors.T, rows[:10].T @ rows[:10], atol=1e-3)


def test_scores_of_items_met_together_are_higher_and_the_unknown_have_none():
    model, _ = make_model()
    queries = model.graph_filter.of_queries(tf.constant([[1, -1], [-1, -1], [1, 2], [2, 1]], tf.int64)).numpy()
    items = model.graph_filter.of_items(tf.constant([*range(ITEMS), -1], tf.int64)).numpy()
    scores = queries @ items.T
    assert scores[0, 2] > scores[0, [0, 4, 5, 7, 8, 9, 10]].max(), "items 1 and 2 share user 0"
    assert not scores[1].any() and not scores[:, -1].any() and not scores[:, 6].any()
    np.testing.assert_array_equal(queries[2], queries[3])
    np.testing.assert_allclose(np.linalg.norm(queries[[0, 2]], axis=1), 1, rtol=1e-5)


def test_vectors_depend_on_who_met_what_and_on_no_order_nor_chance():
    shuffled = np.random.default_rng(5).permutation(SEEN)
    first, again = (filter_vectors(pairs[:, 0], pairs[:, 1], ITEMS, make_config()) for pairs in (SEEN, shuffled))
    for one, other in zip(first, again):
        np.testing.assert_array_equal(one, other)


def test_the_weight_is_of_a_positive_of_length_one():
    items, _ = filter_vectors(SEEN[:, 0], SEEN[:, 1], ITEMS, make_config())
    assert (items[PAIRS[:, 1]] ** 2).sum(1).mean() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("popularity", [None, {"half_life_days": 1}])
def test_embeddings_give_the_towers_score_and_the_filters(popularity):
    model, _ = make_model(popularity=popularity)
    plain, _ = make_model(fitted=False, popularity=popularity)
    query = make_query(6)
    query["recent_items"] = tf.constant([[0, 4], [5, -1], [-1, -1], [1, 2], [9, 10], [7, 8]], tf.int64)
    scores = model.embed_queries(query).numpy() @ model.embed_catalogue().T / TEMPERATURE
    towers = plain.embed_queries(query).numpy() @ plain.embed_catalogue().T / TEMPERATURE
    filtered = model.graph_filter.of_queries(query["recent_items"]).numpy() @ model.graph_filter._items.numpy().T
    np.testing.assert_allclose(scores, towers + WEIGHT * filtered, rtol=1e-4, atol=1e-5)
    assert np.abs(filtered).max() > 0.1


def test_the_catalogue_loss_is_that_of_the_embeddings():
    model, _ = make_model()
    query, rows = make_query(5), np.array([3, 1, 11, 0, 6])
    scores = model.embed_queries(query).numpy() @ model.embed_catalogue()[:-1].T / TEMPERATURE
    expected = np.mean(np.log(np.exp(scores).sum(1)) - scores[range(5), rows])
    found = model.compute_loss({**query, ITEM_ROW: tf.constant(rows)[:, None]})
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_the_in_batch_loss_is_that_of_the_embeddings():
    model, _ = make_model(loss={"negatives": "in_batch", "temperature": TEMPERATURE, "logq_correction": False})
    query, rows = make_query(5), np.array([3, 1, 11, 0, 6])
    catalogue = model.embed_catalogue()
    scores = model.embed_queries(query).numpy() @ catalogue[rows].T / TEMPERATURE
    expected = np.mean(np.log(np.exp(scores).sum(1)) - np.diag(scores))
    found = model.compute_loss({**query, ITEM_ROW: tf.constant(rows)[:, None]})
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_a_fitted_model_comes_back_from_its_files(tmp_path):
    model, config = make_model()
    saving.save(str(tmp_path), model, config, [])
    other, _ = make_model(fitted=False)
    saving.restore(str(tmp_path), other)
    query = make_query(4)
    np.testing.assert_array_equal(other.embed_queries(query), model.embed_queries(query))
    np.testing.assert_array_equal(other.embed_catalogue(), model.embed_catalogue())


def test_more_dimensions_than_the_graph_has_are_zero():
    items, neighbours = filter_vectors(PAIRS[:4, 0], PAIRS[:4, 1], ITEMS, make_config(dimension=6))
    assert items.shape == neighbours.shape == (ITEMS, 6)
    assert not items[:, 2:].any() and items[:, :2].any(), "two users have two directions"
    nothing = filter_vectors(PAIRS[:0, 0], PAIRS[:0, 1], ITEMS, make_config(dimension=6))
    assert not any(vectors.any() for vectors in nothing)


def test_a_history_is_named_and_cosines_stay_cosines():
    config = RetrievalConfig(
        query={"features": ["user"]}, item={"features": ["item_id"]}, graph_filter={"history": "likes"}
    )
    with pytest.raises(DataError, match="retrieval.graph_filter.history: 'likes'"):
        build(make_schema(), config, make_table())
    with pytest.raises(ValidationError, match="graph_filter is added"):
        make_model(loss={"contrastive": {"margin": 0.5}})
