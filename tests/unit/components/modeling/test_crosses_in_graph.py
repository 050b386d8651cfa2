"""Crosses in the graph: every operator against its reference, in training and in a served model."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.crosses import (
    BM25Cross,
    HashedCross,
    SimilarityCross,
    StatisticsCross,
    VocabularyCross,
    cross_ids_numpy,
    cross_keys_numpy,
)
from crossrec.components.features.crosses.bm25 import TermTable, bm25_numpy
from crossrec.components.features.crosses.fitting import fit_crosses
from crossrec.components.features.crosses.multi_valued import once_numpy
from crossrec.components.features.crosses.similarity import similarity_numpy
from crossrec.components.features.crosses.statistics import StatisticsTable, part_of, statistics_numpy
from crossrec.components.features.crosses.vocabulary import look_up_numpy
from crossrec.components.features.schema import (
    ITEM_ROW,
    TIMESTAMP,
    USER,
    FeatureOutput,
    FeatureSchema,
    add_crosses,
    label_key,
)
from crossrec.components.modeling.crosses import Crosses, named_crosses, row_of
from crossrec.components.modeling.fields import Fields

ROWS, ITEMS, PARTS = 300, 9, 4
CROSSES = (
    HashedCross(inputs=("user", "tags"), buckets=50),
    HashedCross(inputs=("likes", "tags"), buckets=20, pairs="any"),
    VocabularyCross(inputs=("likes", "tags"), name="frequent", min_count=8, pairs="any"),
    VocabularyCross(inputs=("user", "tags"), name="users", min_count=3),
    StatisticsCross(inputs=("likes", "tags"), parts=PARTS),
    StatisticsCross(inputs=("user",), parts=PARTS, by="user", pairs="any"),
    StatisticsCross(inputs=("recent_items", "tags"), name="recent", statistics=("count",), pairs="any"),
    SimilarityCross(inputs=("taste", "picture")),
    BM25Cross(inputs=("query", "title"), measures=("bm25", "share", "coverage", "matched")),
    BM25Cross(inputs=("query", "title", "tags"), weights=(2.0, 0.7), b=0.4, k1=2.0),
)
WIDTHS = {"user": 1, "likes": 3, "tags": 2, "recent_items": 2, "taste": 4, "picture": 4, "query": 3, "title": 5}
NAMES = [cross.name for cross in CROSSES]


def feature(name, side, kind="ids", cardinality=9):
    return FeatureOutput(
        name=name, side=side, kind=kind, width=WIDTHS[name], cardinality=cardinality, multi_valued=WIDTHS[name] > 1
    )


FEATURES = FeatureSchema(
    raw_query={},
    raw_item={},
    features=(
        feature("user", "query"),
        feature("likes", "query"),
        feature("recent_items", "query", "items"),
        feature("taste", "query", "dense", 0),
        feature("query", "query"),
        feature("tags", "item"),
        feature("title", "item"),
        feature("picture", "item", "dense", 0),
    ),
    crosses=(),
    items=ITEMS,
    item_column="item_id",
    labels=("clicked",),
)


def padded(rng, rows, name):
    ids = rng.integers(0, 6, (rows, WIDTHS[name]))
    return np.where(rng.random(ids.shape) < 0.3, -1, ids)


@pytest.fixture(scope="module")
def data():
    """Items, and the transformed rows of training."""
    rng = np.random.default_rng(0)
    items = {name: padded(rng, ITEMS + 1, name) for name in ("tags", "title")}
    items |= {"picture": rng.normal(size=(ITEMS + 1, 4)).astype(np.float32)}
    rows = {
        "user": rng.integers(0, 9, (ROWS, 1)),
        "likes": padded(rng, ROWS, "likes"),
        "recent_items": padded(rng, ROWS, "recent_items"),
        "taste": rng.normal(size=(ROWS, 4)).astype(np.float32),
        "query": padded(rng, ROWS, "query"),
        ITEM_ROW: rng.integers(0, ITEMS, (ROWS, 1)),
        TIMESTAMP: rng.integers(10**9, 2 * 10**9, (ROWS, 1)),
        USER: rng.integers(0, 2**62, (ROWS, 1)),
        label_key("clicked"): rng.integers(0, 2, (ROWS, 1)).astype(np.float32),
    }
    return items, rows


@pytest.fixture(scope="module")
def schema(data):
    items, rows = data
    return fit_crosses(add_crosses(FEATURES, CROSSES), items, lambda: [rows], "clicked")


def inputs_of(data):
    items, rows = data
    return {**rows, **{name: values[rows[ITEM_ROW][:, 0]] for name, values in items.items()}}


def reference(schema, cross, values, row):
    """What an operator gives, by the functions without TensorFlow."""
    config, arrays = cross.config, schema.tables.arrays.get(cross.name)
    inputs = [values[name] for name in cross.inputs]
    if isinstance(config, SimilarityCross):
        return similarity_numpy(*inputs, config.measures)
    if isinstance(config, BM25Cross):
        return bm25_numpy(inputs[0], inputs[1:], TermTable(**arrays), config)
    if isinstance(config, HashedCross):
        ids = cross_ids_numpy(inputs, cross.name, cross.buckets)
        return once_numpy(ids) if config.pairs == "any" else ids
    keys = cross_keys_numpy(inputs, cross.name)
    if isinstance(config, VocabularyCross):
        ids = look_up_numpy(keys, arrays["keys"], arrays["ids"])
        return once_numpy(ids) if config.pairs == "any" else ids
    keys = once_numpy(keys) if config.pairs == "any" else keys
    table = StatisticsTable(**arrays)
    column = np.full(len(keys), table.values.shape[1] - 1)
    if row:
        column = part_of(values[TIMESTAMP][:, 0], values[USER][:, 0], table.boundaries, config.parts)
    return statistics_numpy(table, keys, config.statistics, column)


def tensors(values):
    return {name: tf.constant(array) for name, array in values.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("rows", [ROWS, 1, 0])
def test_the_graph_gives_what_the_reference_gives(schema, data, name, training, rows):
    values = {key: array[:rows] for key, array in inputs_of(data).items()}
    batch = tensors(values)
    found = Crosses(schema, [name, "user"])(batch, row=row_of(batch, training))
    assert set(found) - set(batch) == {name}
    cross = schema.cross(name)
    expected = reference(schema, cross, values, training)
    assert found[name].shape == (rows, cross.width) and found[name].dtype == expected.dtype
    np.testing.assert_allclose(found[name], expected, rtol=2e-5, atol=1e-5)
    assert found[name].dtype == (tf.int64 if cross.kind == "ids" else tf.float32)
    if cross.kind == "ids" and rows:
        assert expected.min() >= -1 and expected.max() <= cross.buckets


def test_a_query_meets_each_of_its_candidates(schema, data):
    items, rows = data
    candidates = np.random.default_rng(1).integers(0, ITEMS + 1, (6, 5))
    query = {name: values[:6, None] for name, values in rows.items()}
    features = tensors(query | {name: values[candidates] for name, values in items.items()})
    both = [name for name in NAMES if schema.cross(name).side == "both"]
    found = Crosses(schema, both)(features, row={key: features[key] for key in (TIMESTAMP, USER)})
    for place in range(5):
        flat = {name: values[:6] for name, values in rows.items()}
        flat |= {name: values[candidates[:, place]] for name, values in items.items()}
        for name in both:
            expected = reference(schema, schema.cross(name), flat, True)
            np.testing.assert_allclose(found[name][:, place], expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["likes_x_tags_statistics", "recent"])
def test_the_order_of_inputs_counts_for_keys_and_not_for_statistics(schema, data, name):
    items, rows = data
    swapped = schema.cross(name).config
    swapped = swapped.model_copy(update={"inputs": swapped.inputs[::-1], "name": "swapped"})
    other = fit_crosses(add_crosses(FEATURES, [swapped]), items, lambda: [rows], "clicked")
    batch = tensors(inputs_of(data))
    row = row_of(batch, True)
    first, second = (
        Crosses(schema, [name])(batch, row=row)[name],
        Crosses(other, ["swapped"])(batch, row=row)["swapped"],
    )
    np.testing.assert_allclose(first, second, rtol=1e-6)
    mine, theirs = schema.tables.arrays[name]["keys"], other.tables.arrays["swapped"]["keys"]
    assert len(mine) == len(theirs) and not set(mine) & set(theirs)


def test_training_does_not_see_the_labels_of_a_row_and_requests_do(schema, data):
    items, rows = data
    row = 17
    changed = {**rows, label_key("clicked"): rows[label_key("clicked")].copy()}
    changed[label_key("clicked")][row] = 1 - changed[label_key("clicked")][row]
    other = fit_crosses(add_crosses(FEATURES, CROSSES), items, lambda: [changed], "clicked")
    batch = tensors({name: values[row : row + 1] for name, values in inputs_of(data).items()})
    for name in ("likes_x_tags_statistics", "user_statistics"):
        operators = [Crosses(one, [name]) for one in (schema, other)]
        own, flipped = (crosses(batch, row=row_of(batch, True))[name].numpy() for crosses in operators)
        np.testing.assert_array_equal(own, flipped)
        own, flipped = (crosses(batch)[name].numpy() for crosses in operators)
        assert (own != flipped).any()


def test_statistics_in_training_need_the_time_of_the_row(schema, data):
    batch = {name: values for name, values in tensors(inputs_of(data)).items() if name != TIMESTAMP}
    with pytest.raises(KeyError, match=TIMESTAMP):
        Crosses(schema, ["likes_x_tags_statistics"])(batch, row=row_of(batch, True))


@pytest.mark.parametrize(("name", "kind"), [("user_statistics", "statistics"), ("query_x_title_bm25", "bm25")])
def test_a_cross_that_was_never_fitted_says_so(name, kind):
    with pytest.raises(ValueError, match=f"'{name}' of type '{kind}' was never fitted"):
        Crosses(add_crosses(FEATURES, CROSSES), [name])


def test_a_model_may_ask_for_all_crosses_that_were_found():
    schema = add_crosses(add_crosses(FEATURES, CROSSES[:2]), CROSSES[2:4], found=True)
    first, second, third, fourth = NAMES[:4]
    assert named_crosses(schema, None) == (first, second, third, fourth)
    assert named_crosses(schema, ["found"]) == (third, fourth)
    assert named_crosses(schema, [fourth, "found", first]) == (fourth, third, first)
    assert named_crosses(schema, []) == () == named_crosses(FEATURES, ["found"])


def test_what_training_sees_is_neither_tracked_nor_exported(schema):
    names = [variable.name for variable in Crosses(schema, NAMES).variables]
    assert sum("_keys" in name for name in names) == 7 and not any("history" in name for name in names)
    final = next(v for v in Crosses(schema, ["user_statistics"]).variables if "user_statistics_statistics" in v.name)
    assert final.shape == (10, 2)


def test_the_schema_keeps_its_tables(schema, tmp_path):
    schema.write(str(tmp_path))
    found = FeatureSchema.read(str(tmp_path))
    assert found == schema and found.tables == schema.tables and len(found.tables.arrays) == 7
    assert found.model_copy(update={"items": 1}).tables == schema.tables
    assert found.with_fitted(found.crosses, type(found.tables)()) != schema


READ = """
import sys, numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
values = dict(np.load(sys.argv[1] + "/values.npz"))
found = model.serve(**{name: tf.constant(array) for name, array in values.items()})
np.savez(sys.argv[1] + "/found.npz", **{name: array.numpy() for name, array in found.items()})
"""


def test_a_saved_model_gives_the_same_in_another_process(schema, data, tmp_path):
    values = {name: array for name, array in inputs_of(data).items() if name in WIDTHS}
    module = tf.Module()
    module.crosses = Crosses(schema, NAMES)
    specs = {name: tf.TensorSpec([None, *array.shape[1:]], array.dtype, name) for name, array in values.items()}
    module.serve = tf.function(
        lambda **features: {name: module.crosses(features)[name] for name in NAMES}, autograph=False
    )
    module.serve.get_concrete_function(**specs)
    tf.saved_model.save(module, str(tmp_path))
    np.savez(tmp_path / "values.npz", **values)
    subprocess.run([sys.executable, "-c", READ, str(tmp_path)], check=True, capture_output=True)
    found = np.load(tmp_path / "found.npz")
    for name, expected in module.crosses(tensors(values)).items():
        if name in NAMES:
            np.testing.assert_allclose(found[name], expected, rtol=1e-6)


def test_fields_of_ids_that_occur_once_are_sums(schema):
    layer = Fields(schema, ["likes_x_tags", "user_x_tags"], 3)
    ids = tf.constant([[4, 9, -1, -1, -1, -1], [4, -1, -1, -1, -1, -1], [9, -1, -1, -1, -1, -1], [-1] * 6], tf.int64)
    both, first, second, none = layer({"likes_x_tags": ids}, ["likes_x_tags"])[0][:, 0].numpy()
    np.testing.assert_allclose(both, first + second, rtol=1e-6)
    assert (none == 0).all() and (first != 0).all()
    beside = {"likes_x_tags": ids, "user_x_tags": ids[:, :2]}
    together, _ = layer(beside, ["likes_x_tags", "user_x_tags"])
    np.testing.assert_allclose(together[:, 0], [both, first, second, none], rtol=1e-6)
    alone, _ = layer(beside, ["user_x_tags"])
    np.testing.assert_allclose(together[:, 1], alone[:, 0], rtol=1e-6)
    # The mean of two, as of a cross of all pairs.
    singles, _ = layer({"user_x_tags": tf.constant([[4, -1], [9, -1]], tf.int64)}, ["user_x_tags"])
    np.testing.assert_allclose(alone[0, 0], tf.reduce_mean(singles[:, 0], 0), rtol=1e-5)


def test_fields_of_several_numbers_are_sums_of_as_many_vectors(schema):
    layer = Fields(schema, ["taste", "likes_x_tags_statistics", "recent", "user"], 3, linear=1)
    rng = np.random.default_rng(2)
    values = {
        "taste": rng.normal(size=(5, 2, 4)),
        "likes_x_tags_statistics": rng.normal(size=(5, 2, 2)),
        "recent": rng.normal(size=(5, 2, 1)),
    }
    values = {name: tf.constant(array, tf.float32) for name, array in values.items()} | {
        "user": tf.constant(rng.integers(0, 9, (5, 2, 1)))
    }
    names = ["user", "taste", "recent", "likes_x_tags_statistics"]
    layer(values, names)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    fields, linear = layer(values, names)
    assert fields.shape == (5, 2, 4, 3)
    (vectors,) = [w.numpy() for w in layer.trainable_weights if "vectors" in w.name]
    rows = {"taste": vectors[:4], "likes_x_tags_statistics": vectors[4:6], "recent": vectors[6:]}
    total = layer(values, ["user"])[1].numpy()
    for place, name in enumerate(names[1:], 1):
        expected = values[name].numpy() @ rows[name]
        np.testing.assert_allclose(fields[:, :, place], expected[..., :3], rtol=1e-4, atol=1e-5)
        total = total + expected[..., 3:]
    np.testing.assert_allclose(linear, total, rtol=1e-4, atol=1e-5)
