"""Every feature type after a real analysis, and the same values by way of a request."""

import collections
import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.config import raw_columns
from crossrec.components.features.examples import parsed_batches
from crossrec.components.features.preprocessing import MISSING_ID, UNKNOWN_ID, cardinality, dense_to_sparse
from crossrec.components.features.schema import ITEM_ROW, POSITION, TIMESTAMP, USER, label_key
from crossrec.components.serving_bundle.requests import concatenate, raw_batches
from tests.unit.components.records import write_records
from tests.unit.components.transformed import CONFIG, ITEMS, TEST, TRAIN, make_rows

DEVICE_COUNTS = collections.Counter(row["device"] for row in TRAIN if row["device"] is not None)
PRICES = np.array([row["price_max"] for row in TRAIN if row["price_max"] is not None], np.float32)
ROW_OF_ITEM = {item["item_id"]: row for row, item in enumerate(ITEMS)}


@pytest.fixture(scope="module")
def train(transformed):
    return transformed.columns("train")


@pytest.fixture(scope="module")
def test(transformed):
    return transformed.columns("test")


def of(rows, column):
    """A raw column in the order of time."""
    return [row[column] for row in sorted(rows, key=lambda row: row["timestamp"])]


def assert_one_to_one(raw, ids):
    pairs = set(zip(raw, ids))
    assert len(pairs) == len({value for value, _ in pairs}) == len({found for _, found in pairs})


def test_every_row_is_there_with_its_roles(train, test):
    for rows, found in ((TRAIN, train), (TEST, test)):
        assert found[TIMESTAMP][:, 0].tolist() == of(rows, "timestamp")
        assert found[POSITION][:, 0].tolist() == of(rows, "position")
        assert found[label_key("clicked")][:, 0].tolist() == of(rows, "clicked")
        assert found[label_key("bought")][:, 0].tolist() == of(rows, "bought")
        assert found[ITEM_ROW][:, 0].tolist() == [ROW_OF_ITEM[item] for item in of(rows, "item")]
        assert_one_to_one(of(rows, "user_id"), found[USER][:, 0].tolist())
        assert (found[USER] >= 0).all()


def test_a_file_becomes_a_file_of_its_number_with_its_rows_in_order(transformed):
    spec = {TIMESTAMP: tf.io.FixedLenFeature([1], tf.int64)}
    for split, rows, shards in (("train", TRAIN, 3), ("test", TEST, 1)):
        files = sorted(Path(transformed.paths.examples[split]).iterdir())
        names = [f"transformed_examples-{number:05d}-of-{shards:05d}.gz" for number in range(shards)]
        assert [path.name for path in files] == names
        for number, path in enumerate(files):
            part = rows[len(rows) * number // shards : len(rows) * (number + 1) // shards]
            (batch,) = parsed_batches(str(path), spec)
            assert batch[TIMESTAMP].numpy()[:, 0].tolist() == [row["timestamp"] for row in part]
    assert not list(Path(transformed.paths.temporary).glob("*.partial"))


def test_a_vocabulary_gives_each_value_an_id_by_frequency(train, test):
    raw, ids = of(TRAIN, "device"), train["device"][:, 0].tolist()
    known = [(value, i) for value, i in zip(raw, ids) if value is not None]
    assert {i for value, i in zip(raw, ids) if value is None} == {MISSING_ID}
    assert_one_to_one(*zip(*known))
    by_frequency = [value for value, _ in DEVICE_COUNTS.most_common()]
    assert {value: i for value, i in known} == {value: 2 + place for place, value in enumerate(by_frequency)}
    new = dict(zip(of(TEST, "timestamp"), test["device"][:, 0].tolist()))
    assert [new[1_900_000_000 + n] for n in range(3)] == [UNKNOWN_ID, MISSING_ID, UNKNOWN_ID]


def test_largest_size_and_least_count_leave_the_rest_unknown(transformed, train):
    counts = collections.Counter(like for row in TRAIN for like in row["likes"])
    top = {value for value, _ in counts.most_common(4)}
    assert len(top) < len(counts), "the data no longer test the limit"
    for values, ids in zip(of(TRAIN, "likes"), train["likes"].tolist()):
        assert [i >= 2 for i in ids[: len(values)]] == [value in top for value in values[:3]]
    brands = collections.Counter(item["brand"] for item in ITEMS if item["brand"])
    assert 0 < sum(count >= 3 for count in brands.values()) < len(brands), "the data no longer test the limit"
    for item, found in zip(ITEMS, transformed.table.features["brand"][:-1, 0].tolist()):
        assert (found >= 2) == (brands[item["brand"]] >= 3)
        assert (found == MISSING_ID) == (item["brand"] is None)


def test_cardinality_is_one_more_than_the_largest_id(transformed, train):
    graph = transformed.graph("query")
    for name in ("device", "likes", "gone_text"):
        size = cardinality(CONFIG.features.get(name), graph.vocabulary_size_by_name(name), len(ITEMS))
        assert train[name].max() < size
        if name != "gone_text":
            assert train[name].max() == size - 1
    for name in ("hashed", "words", "band", "hour", "recent_items"):
        assert train[name].max() < cardinality(CONFIG.features.get(name), None, len(ITEMS))


def test_multi_valued_features_are_cut_padded_and_may_hold_unknown_values(train, test):
    known = {}
    for values, ids in zip(of(TRAIN, "likes"), train["likes"].tolist()):
        assert [i >= 0 for i in ids] == [n < len(values) for n in range(3)]
        known.update(zip(values, ids))
    assert sorted(known.values()) == [UNKNOWN_ID, 2, 3, 4, 5]
    last = test["likes"][-3:].tolist()
    assert last == [[UNKNOWN_ID, known["x"], -1], [-1, -1, -1], [known["x"], UNKNOWN_ID, -1]]


@pytest.mark.parametrize(
    ("name", "impute", "then"),
    [
        ("plain", 0.0, lambda x: x),
        ("by_median", np.median(PRICES), lambda x: x),
        ("by_number", -7.5, lambda x: x),
        ("clipped", 1000.0, lambda x: np.log1p(np.clip(x, 0, 50))),
        ("logged", 0.0, lambda x: np.sign(x) * np.log1p(np.abs(x))),
    ],
)
def test_numbers_are_imputed_clipped_and_logged(train, test, name, impute, then):
    for rows, found in ((TRAIN, train), (TEST, test)):
        filled = np.array([impute if v is None else v for v in of(rows, "price_max")])
        # The median is that of a sketch: within a few ranks of the true one.
        rtol = 0.02 if name == "by_median" else 1e-5
        np.testing.assert_allclose(found[name][:, 0], then(filled), rtol=rtol, atol=1e-6)


def test_normalised_numbers(train):
    filled = np.array([PRICES.mean() if v is None else v for v in of(TRAIN, "price_max")])
    np.testing.assert_allclose(train["z_score"][:, 0], (filled - filled.mean()) / filled.std(), atol=1e-4)
    zeros = np.array([0.0 if v is None else v for v in of(TRAIN, "price_max")])
    np.testing.assert_allclose(train["min_max"][:, 0], zeros / zeros.max(), atol=1e-6)


def test_a_constant_column_says_nothing_whatever_comes_later(train, test):
    for found in (train, test):
        np.testing.assert_array_equal(found["constant"], 0.0)


def test_a_column_without_any_value_in_training_has_a_value_all_the_same(train, test):
    for name in ("gone_mean", "gone_median"):
        np.testing.assert_array_equal(train[name], 0.0)
        assert np.isfinite(test[name]).all()
    assert set(train["gone_band"][:, 0].tolist()) == {MISSING_ID}
    assert set(train["gone_text"][:, 0].tolist()) == {MISSING_ID}
    assert 1 <= test["gone_band"][-3, 0] <= 10
    assert test["gone_text"][-2, 0] == UNKNOWN_ID


def test_buckets_are_quantiles_and_monotonic(train, test):
    raw = of(TRAIN, "price_max")
    ids = train["band"][:, 0]
    assert all((i == MISSING_ID) == (v is None) for v, i in zip(raw, ids))
    counts = np.bincount(ids[ids > 0], minlength=5)[1:]
    assert (np.abs(counts / len(PRICES) - 0.25) < 0.02).all()
    order = np.argsort([v for v in raw if v is not None], kind="stable")
    assert (np.diff(ids[ids > 0][order]) >= 0).all()
    assert test["band"][-2:, 0].tolist() == [4, 1]


def test_recent_items_are_rows_of_the_catalogue(train):
    for values, rows in zip(of(TRAIN, "recent_items"), train["recent_items"].tolist()):
        expected = [ROW_OF_ITEM.get(item, -1) for item in values[:3]]
        assert rows == expected + [-1] * (3 - len(expected))


def test_no_transformed_number_is_infinite(train, test):
    for found in (train, test):
        for name, values in found.items():
            assert np.isfinite(values).all(), name


def assert_same(found, expected, name):
    """Equal, but for the last bit of logarithms, which differs between vectorised loops and their remainders."""
    np.testing.assert_allclose(found, expected, rtol=3e-7, atol=0, err_msg=name)
    assert found.dtype == expected.dtype


def requests_equal_examples(transformed, pattern, expected, order):
    kinds = raw_columns(CONFIG.features, "query")
    batch = concatenate(list(raw_batches(pattern, kinds, 64)))
    layer = transformed.graph("query").transform_features_layer()
    sparse = {name: dense_to_sparse(tf.constant(batch[name]), kind) for name, kind in kinds.items()}
    found = layer(sparse)
    assert set(CONFIG.features.query) <= set(found)
    for name in CONFIG.features.query:
        assert_same(found[name].numpy()[order], expected[name], name)
    return batch, layer, found


def test_a_request_gets_the_same_values_as_the_training_data(transformed, train, test):
    for split, rows, expected in (("train", TRAIN, train), ("test", TEST, test)):
        order = np.argsort([row["timestamp"] for row in rows])
        requests_equal_examples(transformed, transformed.raw[split], expected, order)


def test_the_answer_does_not_depend_on_the_batch_or_on_padding(transformed, tmp_path):
    rows = make_rows(3, 60, 2_000_000_000)
    pattern = write_records(tmp_path, rows)
    kinds = raw_columns(CONFIG.features, "query")
    batch = concatenate(list(raw_batches(pattern, kinds, 17)))
    layer = transformed.graph("query").transform_features_layer()

    def ask(values):
        return layer({name: dense_to_sparse(tf.constant(values[name]), kind) for name, kind in kinds.items()})

    whole = ask(batch)
    wider = {n: np.pad(v, [(0, 0), (1, 2)], constant_values=b"") if v.ndim == 2 else v for n, v in batch.items()}
    padded = ask(wider)
    for row in range(0, 60, 7):
        one = ask({name: values[row : row + 1] for name, values in batch.items()})
        for name in CONFIG.features.query:
            assert_same(one[name][0].numpy(), whole[name][row].numpy(), name)
            assert_same(padded[name][row].numpy(), whole[name][row].numpy(), name)


def test_a_request_of_which_everything_is_missing(transformed):
    kinds = raw_columns(CONFIG.features, "query")
    missing = {"string": b"", "float": math.nan, "int": 0}
    dtypes = {"float": tf.float32, "int": tf.int64}
    raw = {
        name: tf.zeros([2, 0], tf.string) if kind == "strings" else tf.constant([missing[kind]] * 2, dtypes.get(kind))
        for name, kind in kinds.items()
    }
    found = transformed.graph("query").transform_features_layer()(
        {name: dense_to_sparse(values, kinds[name]) for name, values in raw.items()}
    )
    for name in ("device", "hashed", "band", "hour", "gone_text"):
        assert found[name].numpy().tolist() == [[MISSING_ID]] * 2, name
    for name in ("likes", "words", "recent_items"):
        assert (found[name].numpy() == -1).all(), name
    assert all(np.isfinite(found[name].numpy()).all() for name in CONFIG.features.query)
