import itertools

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.crosses import cross_ids_numpy
from crossrec.components.modeling.crosses import Crosses
from crossrec.components.modeling.fields import Fields
from crossrec.components.modeling.inputs import ItemFeatures, keep_rows, read_batches
from crossrec.components.modeling.towers import Tower, TowerConfig, TowerSizes, required_features
from tests.unit.components.records import write_records
from tests.unit.components.small_models import make_query, make_schema, make_table, randomise

SCHEMA = make_schema()
NAMES = ["user", "likes", "limit", "age", "recent_items", "user_x_likes"]
IDS = ["user", "likes", "recent_items", "user_x_likes"]
PADDED = ["likes", "recent_items", "user_x_likes"]


@pytest.fixture(scope="module")
def fields():
    layer = Fields(SCHEMA, NAMES, 4, linear=2)
    layer(Crosses(SCHEMA, NAMES)(make_query(2)), NAMES)
    randomise(layer)
    return layer


def look_up(layer, name, values):
    """Field and linear weights of one feature."""
    found, linear = layer({name: tf.constant(values)}, [name])
    assert found.shape == (len(values), 1, 4) and linear.shape == (len(values), 2)
    return np.concatenate([found.numpy()[:, 0], linear.numpy()], 1)


@pytest.mark.parametrize("name", PADDED)
def test_padding_gives_zeros_and_does_not_count(fields, name):
    width = {"likes": 3, "recent_items": 2, "user_x_likes": 3}[name]
    pad = [-1] * (width - 1)
    everything = look_up(fields, name, [[-1] * width, [3, *pad], [*pad, 3], [3] * width])
    assert (everything[0] == 0).all() and (everything[1] != 0).all()
    np.testing.assert_array_equal(everything[1], everything[2])
    np.testing.assert_allclose(everything[1], everything[3], rtol=1e-5)


def test_several_ids_give_their_mean_in_any_order(fields):
    single = look_up(fields, "likes", [[i, -1, -1] for i in (1, 4, 6)])
    for order in itertools.permutations((1, 4, 6)):
        np.testing.assert_allclose(look_up(fields, "likes", [order])[0], single.mean(0), rtol=1e-5)
    np.testing.assert_allclose(look_up(fields, "likes", [[6, -1, 1]])[0], single[[0, 2]].mean(0), rtol=1e-5)


def test_every_id_of_every_feature_has_a_vector_of_its_own(fields):
    sizes = {"user": 9, "likes": 7, "recent_items": 12, "user_x_likes": 41}
    vectors = []
    for name, size in sizes.items():
        width = {"user": 1, "recent_items": 2}.get(name, 3)
        vectors.append(look_up(fields, name, [[i] + [-1] * (width - 1) for i in range(size)]))
    assert len(np.unique(np.concatenate(vectors), axis=0)) == sum(sizes.values())


def test_numbers_are_linear_and_each_has_a_vector(fields):
    one, two, both = look_up(fields, "limit", [[1.5], [-4.0], [-2.5]])
    np.testing.assert_allclose(one + two, both, rtol=1e-5)
    assert (look_up(fields, "limit", [[0.0]]) == 0).all()
    assert not np.allclose(one, look_up(fields, "age", [[1.5]])[0])


def test_features_do_not_touch_each_other(fields):
    values = Crosses(SCHEMA, NAMES)(make_query(5))
    found, linear = fields(values, NAMES)
    assert found.shape == (5, 6, 4)
    # Id features stand before dense ones.
    total = np.zeros((5, 2))
    for place, name in enumerate([*IDS, "limit", "age"]):
        alone, own = fields(values, [name])
        np.testing.assert_allclose(found[:, place], alone[:, 0], rtol=1e-5, atol=1e-7)
        total += own.numpy()
    np.testing.assert_allclose(linear, total, rtol=1e-4, atol=1e-6)


def test_leading_dimensions_do_not_matter(fields):
    flat = Crosses(SCHEMA, NAMES)(make_query(6))
    deep = {name: tf.reshape(values, [2, 3, values.shape[-1]]) for name, values in flat.items()}
    for whole, parts in zip(fields(flat, NAMES), fields(deep, NAMES)):
        np.testing.assert_allclose(tf.reshape(parts, whole.shape), whole, rtol=1e-6)


def test_linear_weights_begin_as_zeros_and_fields_do_not():
    layer = Fields(SCHEMA, NAMES, 4, linear=2)
    found, linear = layer(Crosses(SCHEMA, NAMES)(make_query(5)), NAMES)
    assert (linear.numpy() == 0).all() and (found.numpy() != 0).any()


def test_a_gradient_reaches_only_the_ids_of_the_batch(fields):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(fields({"likes": tf.constant([[2, -1, -1]])}, ["likes"])[0])
    gradients = [
        tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, fields.trainable_weights) if g is not None
    ]
    assert sum((g.reshape(len(g), -1) != 0).any(1).sum() for g in gradients) == 1


def test_crosses_of_query_and_item_stand_beside_their_inputs():
    query, items = make_query(3), ItemFeatures(make_table(), ["item_id", "tags"])
    rows = tf.constant([[0, 5], [11, -1], [2, 2]], tf.int64)
    features = {name: values[:, None] for name, values in query.items()} | items(rows)
    out = Crosses(SCHEMA, ["user_x_item_id", "likes_x_tags", "user"])(features)
    assert set(out) - set(features) == {"user_x_item_id", "likes_x_tags"}
    assert out["likes_x_tags"].shape == (3, 2, 6)
    expected = cross_ids_numpy([features["likes"].numpy(), features["tags"].numpy()], "likes_x_tags", 60)
    np.testing.assert_array_equal(out["likes_x_tags"], expected)


def test_a_negative_row_is_the_unknown_item():
    table = make_table()
    found = ItemFeatures(table, ["item_id", "price"])(tf.constant([[3, -1], [-7, 0]], tf.int64))
    np.testing.assert_array_equal(found["item_id"][..., 0], [[5, 1], [1, 2]])
    np.testing.assert_array_equal(found["price"][:, :, 0], table.features["price"][[[3, 12], [12, 0]], 0])


def test_required_features_are_the_parts_of_crosses_once_each():
    assert required_features(SCHEMA, ["user", "user_x_likes", "likes_x_tags", "limit"]) == [
        "user",
        "likes",
        "tags",
        "limit",
    ]


@pytest.mark.parametrize("normalise", [True, False])
def test_a_tower_gives_one_embedding_per_row(normalise):
    tower = Tower(
        SCHEMA,
        TowerConfig(features=("user", "likes", "limit", "user_x_likes"), hidden_layers=(5, 3)),
        TowerSizes(fields=4, output=6, normalise=normalise, dropout=0.5),
    )
    query = make_query(20)
    tower(query)
    randomise(tower)
    found = tower(query).numpy()
    assert found.shape == (20, 6) and found.dtype == np.float32
    lengths = np.linalg.norm(found, axis=1)
    assert np.allclose(lengths, 1, atol=1e-5) == normalise
    one = np.concatenate([tower({name: v[i : i + 1] for name, v in query.items()}) for i in range(20)])
    np.testing.assert_allclose(one, found, rtol=1e-4, atol=1e-6)
    assert not np.allclose(tower(query, training=True), found), "dropout in training"


def test_batches_are_read_whole_and_every_epoch_has_its_own_order(tmp_path):
    pattern = write_records(tmp_path, [{"x": [n], "keep": [float(n % 3 == 0)]} for n in range(100)], 3)
    spec = {"x": tf.io.FixedLenFeature([1], tf.int64), "keep": tf.io.FixedLenFeature([1], tf.float32)}

    def values(dataset):
        return [batch["x"].numpy()[:, 0].tolist() for batch in dataset]

    flat = sum(values(read_batches(pattern, spec, 16)), [])
    assert sorted(flat) == list(range(100))
    assert flat == sum(values(read_batches(pattern, spec, 7)), [])
    kept = values(keep_rows(read_batches(pattern, spec, 16), "keep", 5, drop_remainder=False))
    assert [len(batch) for batch in kept] == [5] * 6 + [4]
    assert sum(kept, []) == [n for n in flat if n % 3 == 0]
    assert [len(batch) for batch in values(keep_rows(read_batches(pattern, spec, 16), "keep", 5, True))] == [5] * 6

    shuffled = keep_rows(read_batches(pattern, spec, 16, shuffle=50, seed=3), "keep", 5, False)
    epochs = [values(shuffled) for _ in range(3)]
    assert all(sorted(sum(epoch, [])) == [n for n in range(100) if n % 3 == 0] for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) == 3
    again = keep_rows(read_batches(pattern, spec, 16, shuffle=50, seed=3), "keep", 5, False)
    # What a resumed run does: it draws the orders of the epochs that are over.
    next(iter(again)), next(iter(again))
    assert values(again) == epochs[2]
