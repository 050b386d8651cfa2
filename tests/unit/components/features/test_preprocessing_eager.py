"""The operators that need no analysis, on values that Python itself can judge."""

import datetime
import math

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.config import TIME_PARTS, FeaturesConfig
from crossrec.components.features.preprocessing import dense_to_sparse, preprocessing_fn, raw_feature_spec, tokenize

HOUR = 3600


def transform(item, rows):
    """Output of item features on rows ``{column: list of values}``, without analysis."""
    config = FeaturesConfig.model_validate({"query": {"other": {"type": "categorical"}}, "item": item})
    spec = raw_feature_spec(config, "item")
    raw = {
        column: tf.ragged.constant([row[column] for row in rows], kind.dtype, ragged_rank=1).to_sparse()
        for column, kind in spec.items()
    }
    return {name: values.numpy() for name, values in preprocessing_fn(config, "item")(raw).items()}


def moments():
    """Unix seconds around every month's and leap day's ends, before and after 1970, and at random."""
    zero = datetime.datetime(1970, 1, 1)
    seconds = []
    for year in (1899, 1900, 1904, 1968, 1969, 1970, 1972, 1999, 2000, 2004, 2023, 2024, 2100, 2400):
        for month in range(1, 13):
            first = int((datetime.datetime(year, month, 1) - zero).total_seconds())
            seconds += [first - 1, first, first + 86_399, first + 27 * 86_400, first + 28 * 86_400]
    seconds += np.random.default_rng(0).integers(-(2**33), 2**34, 2000).tolist()
    return [second for second in seconds if second]


@pytest.mark.parametrize("offset", [0, 2, -5, 14, -12])
def test_time_parts_are_those_of_pythons_calendar(offset):
    seconds = moments()
    body = {"type": "time_part", "column": "t", "utc_offset_hours": offset}
    found = transform({part: {**body, "part": part} for part in TIME_PARTS}, [{"t": [second]} for second in seconds])
    local = [datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=second, hours=offset) for second in seconds]
    expected = {
        "hour": [t.hour for t in local],
        "part_of_day": [t.hour // 6 for t in local],
        "weekday": [t.weekday() for t in local],
        "day_of_month": [t.day - 1 for t in local],
        "month": [t.month - 1 for t in local],
        "hour_of_week": [t.weekday() * 24 + t.hour for t in local],
    }
    for part, values in expected.items():
        assert (found[part][:, 0] - 1).tolist() == values, part
        assert set(found[part][:, 0].tolist()) == set(range(1, TIME_PARTS[part] + 1)), part


def test_a_missing_time_is_the_missing_id():
    found = transform({"hour": {"type": "time_part", "column": "t", "part": "hour"}}, [{"t": []}, {"t": [HOUR]}])
    assert found["hour"].tolist() == [[0], [2]]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Red SHOES, size 42!", ["red", "shoes", "size", "42"]),
        ("  ", []),
        ("", []),
        ("ÀÉÎ straße", ["àéî", "straße"]),
        ("大红袍 tea", ["大", "红", "袍", "tea"]),
        ("abc大def", ["abc", "大", "def"]),
        ("naïve", ["naïve"]),
        ("नमस्ते", ["नमस्ते"]),
        ("ok\xff\xfe then".encode("latin-1"), ["ok", "then"]),
        (b"\xe5\xa4", []),
        ("a\0b\tc\nd", ["a", "b", "c", "d"]),
        ("\U0001f600", []),
    ],
)
def test_tokens(text, tokens):
    raw = text if isinstance(text, bytes) else text.encode()
    assert [t.decode() for t in tokenize(tf.constant([raw]))[0].numpy()] == tokens


def hashed(tokens, buckets):
    return (1 + tf.strings.to_hash_bucket_fast(tokens, buckets).numpy()).tolist() if tokens else []


def test_text_becomes_tokens_and_ngrams_cut_to_the_most_tokens():
    body = {"type": "text", "column": "q", "hash_buckets": 997, "max_tokens": 3}
    texts = ["a b c d", "A b", "x", "", "大红 袍 子"]
    found = transform({"one": {**body, "ngrams": 1}, "three": {**body, "ngrams": 3}}, [{"q": [t]} for t in texts])
    assert found["one"].shape == (5, 3) and found["three"].shape == (5, 6)
    for row, tokens in enumerate([["a", "b", "c"], ["a", "b"], ["x"], [], ["大", "红", "袍"]]):
        parts = [[" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)] for n in (1, 2, 3)]
        padded = [hashed(part, 997) + [-1] * (4 - n - len(part)) for n, part in enumerate(parts, 1)]
        assert found["one"][row].tolist() == padded[0]
        assert found["three"][row].tolist() == sum(padded, [])


def test_missing_text_is_empty_text():
    body = {"q": {"type": "text", "max_tokens": 2}}
    assert transform(body, [{"q": []}, {"q": [""]}])["q"].tolist() == [[-1, -1], [-1, -1]]


def test_hashed_ids_depend_on_the_value_only_and_missing_is_zero():
    values = ["a", "b", "\U0001f600", b"\xff\xfe", "a"]
    body = {"type": "categorical", "column": "c", "hash_buckets": 50}
    found = transform({"one": body}, [{"c": [v]} for v in values] + [{"c": []}])["one"][:, 0].tolist()
    assert found == [*hashed(values, 50), 0]
    assert found[0] == found[4] and all(1 <= i <= 50 for i in found[:-1])


def test_multi_valued_ids_are_cut_and_padded():
    body = {"type": "categorical", "column": "c", "hash_buckets": 50, "multi_valued": True, "max_length": 2}
    found = transform({"many": body}, [{"c": ["x", "y", "z"]}, {"c": ["x"]}, {"c": []}])["many"].tolist()
    x, y = hashed(["x", "y"], 50)
    assert found == [[x, y], [x, -1], [-1, -1]]


@pytest.mark.parametrize(
    ("kind", "values", "rows"),
    [
        ("string", [b"a", b"", b" "], [[b"a"], [], [b" "]]),
        ("float", [1.5, math.nan, math.inf, -math.inf, 0.0], [[1.5], [], [], [], [0.0]]),
        ("int", [5, 0, -3], [[5], [], [-3]]),
        ("strings", [[b"a", b"", b"b"], [b"", b"", b""], [b"", b"c", b""]], [[b"a", b"b"], [], [b"c"]]),
        ("floats", [[1.5, 0.0], [math.nan, math.nan], [2.0, math.nan], [math.inf, 1.0]], [[1.5, 0.0], [], [], []]),
    ],
)
def test_missing_values_of_a_request_are_absent_and_the_others_stand_in_front(kind, values, rows):
    dtype = {"float": tf.float32, "floats": tf.float32, "int": tf.int64}.get(kind, tf.string)
    sparse = dense_to_sparse(tf.constant(values, dtype), kind)
    assert tf.RaggedTensor.from_sparse(sparse).to_list() == rows
    assert sparse.dense_shape[0] == len(values)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("string", [0]), ("float", [0]), ("strings", [0, 3]), ("strings", [4, 0]), ("floats", [0, 3]), ("floats", [4, 0])],
)
def test_empty_requests_are_empty(kind, shape):
    sparse = dense_to_sparse(tf.zeros(shape, tf.float32 if kind.startswith("float") else tf.string), kind)
    assert sparse.dense_shape[0] == shape[0] and len(sparse.values) == 0


def test_a_vector_stands_as_it_is_and_is_zeros_where_it_is_missing():
    body = {"taste": {"type": "vector", "column": "v", "dimension": 3}}
    found = transform(body, [{"v": [1.0, -2.5, 0.0]}, {"v": []}, {"v": [4.0, 5.0, 6.0]}])["taste"]
    assert found.dtype == np.float32
    assert found.tolist() == [[1.0, -2.5, 0.0], [0.0, 0.0, 0.0], [4.0, 5.0, 6.0]]
