"""Crosses against an implementation of their own in big integers."""

import hashlib
import itertools

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.crosses import (
    cross_ids,
    cross_ids_numpy,
    cross_keys,
    cross_keys_numpy,
    default_buckets,
)

WORD = 2**64
# (ids, name, buckets) to the id of the cross; they must never change, because a trained model depends on them.
GOLDEN = [
    ([1, 2], "user_x_item", 2**18, 78_345),
    ([2, 1], "user_x_item", 2**18, 161_840),
    ([0, 0], "user_x_item", 2**18, 75_403),
    ([7, 7], "user_x_item", 2**18, 251_470),
    ([7, 7], "device_x_band", 2**18, 117_787),
    ([3, 1, 4, 1], "four", 1000, 479),
    ([2**62, 5], "large", 2**31 - 2, 1_258_482_348),
    ([-2, 2**63 - 1], "signed", 97, 48),
]
TEXT_TIMES_CATEGORY = [84396, 139495, 84396, -1]


def reference(ids, name, buckets):
    """The formula of the module's docstring, in Python integers modulo 2^64."""
    state = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    for value in ids:
        state = (state * 0x9E3779B97F4A7C15 + value) % WORD
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % WORD
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % WORD
        state ^= state >> 31
    return 1 + (state % 2**63) % buckets


def reference_rows(columns, name, buckets):
    """All combinations of one row's values, -1 where a part is padding."""
    return [-1 if -1 in ids else reference(ids, name, buckets) for ids in itertools.product(*columns)]


def both(arrays, name, buckets):
    """The numpy result, after TensorFlow gave the same eagerly and in a graph."""
    arrays = [np.asarray(a, np.int64) for a in arrays]
    expected = cross_ids_numpy(arrays, name, buckets)
    tensors = [tf.constant(a) for a in arrays]
    keys = cross_keys_numpy(arrays, name)
    np.testing.assert_array_equal(cross_keys(tensors, name).numpy(), keys)
    np.testing.assert_array_equal(np.where(keys < 0, -1, 1 + keys % buckets), expected)
    graph = tf.function(lambda *ids: cross_ids(ids, name, buckets))
    for found in (cross_ids(tensors, name, buckets), graph(*tensors)):
        assert found.dtype == tf.int64
        np.testing.assert_array_equal(found.numpy(), expected)
    return expected


@pytest.mark.parametrize(("ids", "name", "buckets", "expected"), GOLDEN)
def test_golden_vectors(ids, name, buckets, expected):
    assert reference(ids, name, buckets) == expected
    assert both([[[i]] for i in ids], name, buckets).tolist() == [[expected]]


@pytest.mark.parametrize("inputs", [2, 3, 4])
@pytest.mark.parametrize("buckets", [2, 1000, 2**18, 2**31 - 2, 2**62])
def test_tensorflow_numpy_and_python_agree_on_any_ids(inputs, buckets):
    rng = np.random.default_rng([inputs, buckets % 1000])
    arrays = [rng.integers(-(2**63), 2**63 - 1, (50, 1), np.int64, endpoint=True) for _ in range(inputs)]
    small = [rng.integers(0, 30, (50, 1)) for _ in range(inputs)]
    for ids in (arrays, small):
        found = both(ids, "any", buckets)
        assert found[:, 0].tolist() == [
            reference_rows([[int(v)] for v in row], "any", buckets)[0] for row in np.concatenate(ids, 1)
        ]


def test_every_pair_of_multi_valued_inputs_gets_an_id_and_padding_gives_padding():
    left = [[3, 5, -1], [9, -1, -1]]
    right = [[2, 8], [-1, -1]]
    found = both([left, right], "pairs", 500)
    assert found.tolist() == [reference_rows([a, b], "pairs", 500) for a, b in zip(left, right)]
    assert found[1].tolist() == [-1] * 6
    three = both([left, right, [[1], [1]]], "triples", 500)
    assert three.tolist() == [reference_rows([a, b, [1]], "triples", 500) for a, b in zip(left, right)]


def test_the_missing_id_is_a_value_and_not_padding():
    assert (both([[[0]], [[4]]], "missing", 100) > 0).all()


def test_a_query_meets_each_of_its_candidates():
    rng = np.random.default_rng(0)
    query, items = rng.integers(-1, 20, (3, 1, 2)), rng.integers(-1, 20, (3, 4, 3))
    found = both([query, items], "broadcast", 1000)
    assert found.shape == (3, 4, 6)
    for b, c in itertools.product(range(3), range(4)):
        assert found[b, c].tolist() == reference_rows([query[b, 0].tolist(), items[b, c].tolist()], "broadcast", 1000)
    swapped = both([items, query], "broadcast", 1000)
    assert swapped.shape == (3, 4, 6)


def test_an_empty_batch_is_an_empty_answer():
    assert both([np.zeros((0, 2)), np.zeros((0, 3))], "none", 10).shape == (0, 6)


def test_the_width_is_static_in_a_graph_of_unknown_batch_size():
    @tf.function(input_signature=[tf.TensorSpec([None, 1, 2], tf.int64), tf.TensorSpec([None, None, 3], tf.int64)])
    def graph(query, items):
        out = cross_ids([query, items], "static", 100)
        assert out.shape[-1] == 6 and out.shape.rank == 3
        return out

    assert graph(tf.zeros([2, 1, 2], tf.int64), tf.zeros([2, 5, 3], tf.int64)).shape == (2, 5, 6)


def test_order_counts_and_equal_values_do_not_cancel():
    ids = np.arange(2000)[:, None]
    forth, back = both([ids, ids + 1], "order", 2**31 - 2), both([ids + 1, ids], "order", 2**31 - 2)
    assert (forth != back).mean() > 0.999
    same = both([ids, ids], "order", 2**31 - 2)
    assert len(np.unique(same)) > 1990


def test_crosses_of_the_same_ids_differ_by_their_names():
    ids = np.arange(2000)[:, None]
    first, second = both([ids, ids], "a_x_b", 1000), both([ids, ids], "a_x_c", 1000)
    assert 0.0 < (first == second).mean() < 0.01


def test_ids_spread_evenly_over_the_buckets():
    left, right = (a.reshape(-1, 1) for a in np.meshgrid(np.arange(300), np.arange(200)))
    for buckets in (64, 1000):
        counts = np.bincount(both([left, right], "even", buckets)[:, 0], minlength=buckets + 1)
        assert counts[0] == 0
        expected = left.size / buckets
        chi_square = ((counts[1:] - expected) ** 2 / expected).sum()
        # Mean and deviation of chi-square with buckets - 1 degrees of freedom.
        assert abs(chi_square - (buckets - 1)) < 4 * np.sqrt(2 * (buckets - 1))


def test_collisions_are_as_frequent_as_chance_makes_them():
    left, right = (a.reshape(-1, 1) for a in np.meshgrid(np.arange(250), np.arange(160)))
    buckets = 2**16
    distinct = len(np.unique(both([left, right], "collisions", buckets)))
    expected = buckets * (1 - np.exp(-left.size / buckets))
    assert abs(distinct - expected) < 0.01 * expected


def test_the_default_number_of_buckets_is_four_for_every_combination_within_a_limit():
    assert default_buckets([3, 5]) == 64
    assert default_buckets([4, 4]) == 64
    assert default_buckets([1, 1]) == 4
    assert default_buckets([10**6, 10**6, 10**6]) == 2**18
    assert default_buckets([10**6, 10**6], limit=2**20) == 2**20


def test_text_times_category_is_an_id_for_each_token():
    """Tokens 17, 4 and 17 of a text, category 3: golden, for a trained model depends on them."""
    found = both([[[17, 4, 17, -1]], [[3]]], "title_x_category", 2**18)
    assert found.tolist() == [TEXT_TIMES_CATEGORY]
    assert found.tolist() == [reference_rows([[17, 4, 17, -1], [3]], "title_x_category", 2**18)]
