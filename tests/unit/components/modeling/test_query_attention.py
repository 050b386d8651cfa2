"""Attention of the query to the recent items: golden values, what is absent, and its place in tower and model."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.errors import DataError
from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import ITEM_ROW, build_schema
from crossrec.components.modeling.encoders import build_encoder
from crossrec.components.modeling.encoders.query_attention import QueryAttention, QueryAttentionConfig
from crossrec.components.modeling.lazy_adam import LazyAdam
from crossrec.components.modeling.towers import Tower, TowerConfig, TowerSizes
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.train import build
from tests.unit.components.small_models import CARDINALITIES, FEATURES, ITEMS, make_query, make_table, randomise

SIZE, LENGTH, WIDTH = 4, 3, 6
CONFIG = QueryAttentionConfig(sequence="recent_items", query="meaning", keys="picture", features=["tags"])
WITH_VECTORS = FeaturesConfig.model_validate(
    {
        "query": {**FEATURES.model_dump()["query"], "meaning": {"type": "vector", "dimension": SIZE}},
        "item": {
            **FEATURES.model_dump()["item"],
            "picture": {"type": "vector", "dimension": SIZE},
            "small": {"type": "vector", "dimension": 2},
        },
    }
)


def make_schema():
    return build_schema(WITH_VECTORS, CARDINALITIES, ("item_id", ITEMS), ("clicked", "bought"))


def make_layer(seed=None):
    layer = build_encoder(CONFIG)
    attend(layer, *make_inputs(1))
    if seed is not None:
        randomise(layer, seed)
    return layer


def make_inputs(rows, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(rows, SIZE)).astype(np.float32),
        rng.normal(size=(rows, LENGTH, SIZE)).astype(np.float32),
        rng.normal(size=(rows, LENGTH, WIDTH)).astype(np.float32),
        np.ones((rows, LENGTH), bool),
    )


def attend(layer, *inputs):
    return layer(tuple(tf.constant(values) for values in inputs)).numpy()


def test_golden_numbers_by_hand():
    """The first item's text is the query's, the second's has nothing to do with it, the third's says the opposite."""
    query, keys = (
        np.array([[2, 0, 0, 0]], np.float32),
        np.array([[[9, 0, 0, 0], [0, 3, 0, 0], [-5, 0, 0, 0]]], np.float32),
    )
    values = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1]]], np.float32)
    found = attend(make_layer(), query, keys, values, np.ones((1, 3), bool))
    # The root of four numbers times cosines of 1, 0 and -1.
    weights = np.exp([2, 0, -2])
    np.testing.assert_allclose(found, [weights / weights.sum()], rtol=1e-5)


def test_the_formula_with_a_trained_matrix():
    layer, (queries, keys, values, present) = make_layer(3), make_inputs(5, 1)
    (matrix,) = (weight.numpy().astype(float) for weight in layer.trainable_weights)
    present[1, 0] = present[2, 1:] = False
    found = attend(layer, queries, keys, values, present)
    for row in range(5):
        q = queries[row] / np.linalg.norm(queries[row])
        weights = np.zeros(LENGTH)
        for place in np.flatnonzero(present[row]):
            k = keys[row, place] / np.linalg.norm(keys[row, place])
            weights[place] = np.exp(SIZE**0.5 * (q @ matrix @ k))
        np.testing.assert_allclose(found[row], weights / weights.sum() @ values[row], rtol=1e-4, atol=1e-5)


def test_how_long_vectors_are_does_not_matter():
    layer, (queries, keys, values, present) = make_layer(3), make_inputs(4)
    expected = attend(layer, queries, keys, values, present)
    np.testing.assert_allclose(
        attend(layer, 1e3 * queries, 1e-3 * keys, values, present), expected, rtol=1e-4, atol=1e-5
    )


def test_without_a_query_all_items_count_the_same_and_without_items_there_is_nothing():
    layer, (queries, keys, values, present) = make_layer(3), make_inputs(4)
    keys[1, 2], present[2, 0] = 0, False
    found = attend(layer, 0 * queries, keys, values, present)
    expected = [values[0].mean(0), values[1, :2].mean(0), values[2, 1:].mean(0), values[3].mean(0)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    for nothing in (
        attend(layer, queries, keys, values, ~present[:1].repeat(4, 0)),
        attend(layer, queries, 0 * keys, values, present),
    ):
        np.testing.assert_array_equal(nothing, np.zeros((4, WIDTH)))


def test_padding_may_stand_anywhere_and_a_batch_is_its_rows():
    layer, (queries, keys, values, present) = make_layer(3), make_inputs(3)
    present[:, 1] = False
    expected = attend(layer, queries, keys, values, present)
    keys[:, 1], values[:, 1] = 7.0, -8.0
    order = [2, 1, 0]
    np.testing.assert_allclose(
        attend(layer, queries, keys[:, order], values[:, order], present[:, order]), expected, rtol=1e-5, atol=1e-6
    )
    for row in range(3):
        alone = attend(layer, *(values[row : row + 1] for values in (queries, keys, values, present)))
        np.testing.assert_allclose(alone, expected[row : row + 1], rtol=1e-4, atol=1e-5)


def test_float16_gives_numbers_for_absent_queries_too():
    queries, keys, values, present = make_inputs(3)
    queries[0] = 0
    full = attend(make_layer(), queries, keys, values, present)
    layer = QueryAttention(CONFIG, dtype="mixed_float16")
    half = attend(layer, queries, keys, values, present)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, full, atol=5e-3)


def test_keras_can_build_it_again():
    layer = make_layer(3)
    again = QueryAttention.from_config(layer.get_config())
    inputs = make_inputs(2)
    attend(again, *inputs)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(attend(again, *inputs), attend(layer, *inputs))


def make_model(features=("tags",)):
    rng = np.random.default_rng(5)
    table = make_table()
    table.features["picture"] = np.append(rng.normal(size=(ITEMS, SIZE)), np.zeros((1, SIZE)), 0).astype(np.float32)
    table.features["tags"][[3, 7]] = [[1, 2], [4, -1]]
    encoder = {**CONFIG.model_dump(), "features": features}
    config = RetrievalConfig(
        query={"features": ["user"], "hidden_layers": [], "encoders": [encoder]},
        item={"features": ["item_id", "tags"]},
        label="clicked",
    )
    model = build(make_schema(), config, table)
    randomise(model, 3)
    query = {**make_query(4), "user": tf.fill([4, 1], tf.constant(4, tf.int64))}
    return model, table, query


@pytest.mark.parametrize("features", [("tags",), None, ("tags", "picture")])
def test_a_query_tower_attends_to_the_texts_of_recent_items(features):
    model, table, query = make_model(features)
    query["recent_items"] = tf.constant([[3, 7], [7, 3], [3, -1], [-1, -1]], tf.int64)
    toward_3 = tf.constant(np.repeat(table.features["picture"][3:4], 4, 0))
    asked = model.embed_queries({**query, "meaning": toward_3}).numpy()
    other = model.embed_queries({**query, "meaning": -toward_3}).numpy()
    absent = model.embed_queries({**query, "meaning": tf.zeros_like(toward_3)}).numpy()
    # The order of recent items does not count; what is asked does, where there is more than one item to choose from.
    np.testing.assert_allclose(asked[0], asked[1], rtol=1e-4, atol=1e-6)
    for changed in (other, absent):
        assert np.abs(asked[0] - changed[0]).max() > 1e-3
        np.testing.assert_allclose(asked[2:], changed[2:], rtol=1e-5, atol=1e-6)
    assert np.isfinite(absent).all()


def test_the_tower_mixes_the_fields_of_what_the_encoder_names():
    schema, (queries, *_) = make_schema(), make_inputs(2)
    sizes = TowerSizes(fields=WIDTH, output=WIDTH, normalise=False, dropout=0.0)
    tower = Tower(schema, TowerConfig(features=["user"], hidden_layers=(), output="sum", encoders=[CONFIG]), sizes)
    rng = np.random.default_rng(0)
    inputs = {
        "user": tf.constant([[1], [1]], tf.int64),
        "recent_items": tf.constant([[3, 5], [-1, -1]], tf.int64),
        "meaning": tf.constant(queries),
        "recent_items@picture": tf.constant(rng.normal(size=(2, 2, SIZE)), tf.float32),
        "recent_items@tags": tf.constant([[[1, 2], [4, -1]]] * 2, tf.int64),
    }
    tower(inputs)
    randomise(tower, 2)
    with_items, without = tower(inputs).numpy()
    fields, _ = tower._fields({"tags": inputs["recent_items@tags"]}, ["tags"])
    layer = tower._encoders[0]
    expected = attend(layer, queries[:1], inputs["recent_items@picture"][:1], fields[:1, :, 0], np.ones((1, 2), bool))
    np.testing.assert_allclose(with_items - without, expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"query": "picture"}, "query: 'picture' is no query feature that gives a vector.*limit, age, meaning"),
        ({"query": "user"}, "query: 'user' is no query feature that gives a vector"),
        ({"keys": "meaning"}, "keys: 'meaning' is no item feature that gives a vector.*price, picture, small"),
        ({"keys": "small"}, "keys: 'small' has 2 numbers, and the query's 'meaning' has 4.*one encoder"),
    ],
)
def test_vectors_that_cannot_be_compared_are_refused(changed, named):
    sizes = TowerSizes(fields=4, output=4, normalise=False, dropout=0.0)
    encoder = CONFIG.model_copy(update=changed)
    with pytest.raises(DataError, match=named):
        Tower(make_schema(), TowerConfig(features=["user"], encoders=[encoder]), sizes)


TOPICS, BRANDS, COPIES = 6, 6, 3
MEANING = 8
SHOP = FeaturesConfig.model_validate(
    {
        "query": {
            "meaning": {"type": "vector", "dimension": MEANING},
            "recent_items": {"type": "recent_items", "max_length": TOPICS},
        },
        "item": {
            "brand": {"type": "categorical"},
            "topic": {"type": "categorical"},
            "picture": {"type": "vector", "dimension": MEANING},
        },
    }
)


def make_shop():
    """Items of every topic and brand, whose texts lie near the direction of their topic."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(MEANING, MEANING)))[0][:TOPICS]
    topics, brands = (grid.reshape(-1) for grid in np.indices((TOPICS, BRANDS, COPIES))[:2])
    pictures = directions[topics] + 0.1 * rng.normal(size=(len(topics), MEANING))
    ids = np.empty(len(topics), object)
    ids[:] = [f"{n:03}" for n in range(len(topics))]
    features = {
        "brand": np.append(brands + 2, 1)[:, None],
        "topic": np.append(topics + 2, 1)[:, None],
        "picture": np.append(pictures, np.zeros((1, MEANING)), 0).astype(np.float32),
    }
    return directions, ItemTable(ids, features, np.full(len(topics), 10), {})


def ask_shop(seed, rows, directions):
    """Users who bought one item of each topic, and now ask for one topic and want the brand that they bought there."""
    rng = np.random.default_rng(seed)
    bought, topic = rng.integers(0, BRANDS, (rows, TOPICS)), rng.integers(0, TOPICS, rows)
    copies = rng.integers(0, COPIES, (rows, TOPICS + 1))
    recent = (np.arange(TOPICS) * BRANDS + bought) * COPIES + copies[:, :-1]
    brand = bought[np.arange(rows), topic]
    query = {
        "meaning": (directions[topic] + 0.1 * rng.normal(size=(rows, MEANING))).astype(np.float32),
        "recent_items": rng.permuted(recent, axis=1),
        ITEM_ROW: ((topic * BRANDS + brand) * COPIES + copies[:, -1])[:, None],
    }
    return query, brand


@pytest.mark.parametrize("kind", ["query_attention", "average"])
def test_what_is_asked_says_which_of_the_recent_items_count(kind):
    directions, table = make_shop()
    encoder = {"type": kind, "sequence": "recent_items", "features": ["brand"]}
    if kind == "query_attention":
        encoder |= {"query": "meaning", "keys": "picture"}
    config = RetrievalConfig(
        query={"features": ["meaning"], "hidden_layers": [], "encoders": [encoder]},
        item={"features": ["brand", "topic"], "hidden_layers": []},
        label="clicked",
        embedding_dimension=16,
        dimension=16,
        loss={"negatives": "catalogue", "temperature": 0.1},
    )
    sizes = {"brand": BRANDS + 2, "topic": TOPICS + 2, "recent_items": table.items}
    tf.keras.utils.set_random_seed(3)
    model = build(build_schema(SHOP, sizes, ("item_id", table.items), ("clicked",)), config, table)
    model.compile(optimizer=LazyAdam(0.02))
    rows, _ = ask_shop(1, 4000, directions)
    model.fit(tf.data.Dataset.from_tensor_slices(rows).batch(100), epochs=3, verbose=0)
    later, brand = ask_shop(2, 500, directions)
    wanted = later.pop(ITEM_ROW)[:, 0]
    scores = model.embed_queries({name: tf.constant(values) for name, values in later.items()}).numpy()
    best = np.argmax(scores @ model.embed_catalogue().T, 1)
    of_topic = best // (BRANDS * COPIES) == wanted // (BRANDS * COPIES)
    of_brand = best // COPIES % BRANDS == brand
    assert of_topic.mean() > 0.95
    # Without the query a user's brands are known, but not which is of the topic: about as often as it is the likeliest.
    assert of_brand.mean() > 0.9 if kind == "query_attention" else of_brand.mean() < 0.5
