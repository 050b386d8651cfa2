"""Encoders of recent items: golden values, order, padding, and their place in a tower."""

import numpy as np
import pytest
import tensorflow as tf
from pydantic import TypeAdapter, ValidationError

from crossrec.components.errors import DataError
from crossrec.components.modeling.encoders import LAYERS, EncoderConfig, build_encoder, encode
from crossrec.components.modeling.towers import Tower, TowerConfig, TowerSizes
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.train import build
from tests.unit.components.small_models import make_query, make_schema, make_table, randomise

SIZE, LENGTH = 6, 5
TYPES = ["average", "gru", "lstm", "attention"]


def make_encoder(kind, **options):
    config = TypeAdapter(EncoderConfig).validate_python({"type": kind, "sequence": "recent_items", **options})
    layer = build_encoder(config)
    encode(layer, tf.zeros([1, LENGTH, SIZE]), tf.ones([1, LENGTH], tf.bool), False)
    randomise(layer, 1)
    return layer


def vectors(rows=3, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, LENGTH, SIZE)).astype(np.float32)


def padded(values, present):
    return tf.constant(values * present[..., None]), tf.constant(present)


def test_a_spec_can_name_every_encoder():
    assert [kind.model_fields["type"].default for kind, _ in LAYERS] == [*TYPES, "query_attention"]


@pytest.mark.parametrize("kind", TYPES)
def test_padding_may_stand_anywhere_and_changes_nothing(kind):
    layer, values = make_encoder(kind), vectors(1)
    ends = np.array([[True, True, True, False, False]])
    between = np.array([[False, True, True, False, True]])
    moved = np.zeros_like(values)
    moved[0, [1, 2, 4]] = values[0, :3]
    expected = encode(layer, *padded(values, ends), False).numpy()
    np.testing.assert_allclose(encode(layer, *padded(moved, between), False), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected).max() > 0.01
    nothing = np.zeros([1, LENGTH], bool)
    np.testing.assert_array_equal(encode(layer, *padded(values, nothing), False), np.zeros([1, SIZE]))


@pytest.mark.parametrize("kind", TYPES)
def test_all_but_the_average_know_the_order(kind):
    layer, values = make_encoder(kind), vectors()
    present = np.ones([3, LENGTH], bool)
    forwards = encode(layer, *padded(values, present), False).numpy()
    backwards = encode(layer, *padded(values[:, ::-1], present), False).numpy()
    difference = np.abs(forwards - backwards).max()
    assert difference < 1e-5 if kind == "average" else difference > 0.05


@pytest.mark.parametrize("kind", TYPES)
def test_a_batch_is_its_rows(kind):
    layer, values = make_encoder(kind), vectors()
    present = np.array([[True] * 5, [True, False, True, False, False], [False] * 5])
    together = encode(layer, *padded(values, present), False).numpy()
    for row in range(3):
        one = encode(layer, *padded(values[row : row + 1], present[row : row + 1]), False)
        np.testing.assert_allclose(one, together[row : row + 1], rtol=1e-4, atol=1e-5)


def test_the_average_is_the_mean_of_what_is_present():
    present = np.array([[True, False, True, True, False]])
    values = vectors(1)
    found = encode(make_encoder("average"), *padded(values, present), False)
    np.testing.assert_allclose(found[0], values[0, [0, 2, 3]].mean(0), rtol=1e-5)


def test_a_gru_reads_from_the_oldest_item_to_the_most_recent():
    layer, values = make_encoder("gru", units=4), vectors(1)
    found = encode(layer, *padded(values, np.ones([1, LENGTH], bool)), False).numpy()
    weights = {weight.name.split("/")[-1].split(":")[0]: [] for weight in layer.trainable_weights}
    for weight in layer.trainable_weights:
        weights[weight.name.split("/")[-1].split(":")[0]].append(weight.numpy().astype(float))
    kernel, projection = sorted(weights["kernel"], key=lambda w: -w.shape[1])
    (recurrent,) = weights["recurrent_kernel"]
    bias, last = sorted(weights["bias"], key=lambda w: -w.ndim)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    state = np.zeros(4)
    for vector in values[0, ::-1].astype(float):
        of_input = np.split(vector @ kernel + bias[0], 3)
        of_state = np.split(state @ recurrent + bias[1], 3)
        update, reset = sigmoid(of_input[0] + of_state[0]), sigmoid(of_input[1] + of_state[1])
        state = update * state + (1 - update) * np.tanh(of_input[2] + reset * of_state[2])
    np.testing.assert_allclose(found[0], state @ projection + last, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", TYPES)
def test_a_tower_has_one_field_more(kind):
    schema, query = make_schema(), make_query(4, seed=3)
    sizes = TowerSizes(fields=SIZE, output=SIZE, normalise=False, dropout=0.0)
    encoder = {"type": kind, "sequence": "recent_items"}
    tower = Tower(schema, TowerConfig(features=["user"], hidden_layers=(), output="sum", encoders=[encoder]), sizes)
    tower(query)
    randomise(tower, 2)
    nothing = {**query, "recent_items": tf.fill([4, 2], tf.constant(-1, tf.int64))}
    added = (tower(query) - tower(nothing)).numpy()
    rows = query["recent_items"].numpy()
    (own,) = [weight.numpy() for weight in tower.trainable_weights if "own_vectors" in weight.name]
    present = rows >= 0
    layer = tower._encoders[0]
    expected = encode(layer, tf.constant(own[np.maximum(rows, 0)] * present[..., None]), tf.constant(present), False)
    np.testing.assert_allclose(added, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(added).max() > 0.01


def test_recent_items_that_are_alike_by_content_are_encoded_alike():
    """With item features as its vectors, an encoder tells items apart by those only."""
    table = make_table()
    table.features["tags"][7] = table.features["tags"][3] = [2, -1]
    config = RetrievalConfig(
        query={
            "features": ["user"],
            "hidden_layers": [],
            "encoders": [{"type": "gru", "sequence": "recent_items", "features": ["tags"]}],
        },
        item={"features": ["item_id", "tags"]},
        label="clicked",
    )
    model = build(make_schema(), config, table)
    randomise(model, 3)
    query = make_query(3)
    query["user"] = tf.fill([3, 1], tf.constant(4, tf.int64))
    table.features["tags"][5] = [1, 4]
    model._items._tables["tags"].assign(table.features["tags"])
    query["recent_items"] = tf.constant([[3, -1], [7, -1], [5, -1]], tf.int64)
    alike, same, other = model.embed_queries(query).numpy()
    np.testing.assert_allclose(alike, same, rtol=1e-5)
    assert np.abs(alike - other).max() > 0.01


def test_items_have_no_recent_items():
    with pytest.raises(ValidationError, match=r"query\.encoders"):
        RetrievalConfig(
            query={"features": ["user"]},
            item={"features": ["item_id"], "encoders": [{"type": "gru", "sequence": "recent_items"}]},
        )


@pytest.mark.parametrize(
    ("encoder", "named"),
    [
        ({"type": "gru", "sequence": "likes"}, "sequence: 'likes'.*recent_items"),
        ({"type": "gru", "sequence": "recent_items", "features": ["user"]}, "features: 'user'.*item_id"),
    ],
)
def test_an_encoder_of_nothing_is_refused(encoder, named):
    sizes = TowerSizes(fields=4, output=4, normalise=False, dropout=0.0)
    with pytest.raises(DataError, match=named):
        Tower(make_schema(), TowerConfig(features=["user"], encoders=[encoder]), sizes)
