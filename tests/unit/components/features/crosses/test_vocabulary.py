"""Crosses by vocabulary, and crosses as sets."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.crosses.multi_valued import once, once_numpy
from crossrec.components.features.crosses.vocabulary import look_up, look_up_numpy, make_vocabulary


def both(keys, vocabulary, ids=None):
    keys = np.asarray(keys, np.int64)
    expected = look_up_numpy(keys, vocabulary, ids)
    tensors = [tf.constant(vocabulary)] + ([] if ids is None else [tf.constant(ids)])
    for function in (look_up, tf.function(look_up)):
        np.testing.assert_array_equal(function(tf.constant(keys), *tensors), expected)
    return expected


def test_the_most_frequent_comes_first_and_the_rare_share_an_id():
    keys = np.array([2**62, 5, 9, 11, 2**63 - 1])
    vocabulary, ids = make_vocabulary(keys, np.array([7, 4, 9, 3, 7]), 4, 100)
    assert dict(zip(vocabulary, ids)) == {9: 1, 2**62: 2, 2**63 - 1: 3, 5: 4}
    assert (np.diff(vocabulary) > 0).all()
    found = both([[9, 2**62, 11], [-1, 5, 0], [2**63 - 1, 10, -1]], vocabulary, ids)
    assert found.tolist() == [[1, 2, 0], [-1, 4, 0], [3, 0, -1]]
    assert both([[9], [11], [5]], vocabulary).tolist() == [[2], [0], [1]]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_more_than_the_most_frequent_ones_are_kept(size):
    vocabulary, ids = make_vocabulary(np.array([1, 2, 3, 4]), np.array([5, 8, 8, 1]), 2, size)
    assert [key for _, key in sorted(zip(ids, vocabulary))] == [2, 3, 1][:size]


def test_an_empty_vocabulary_gives_the_id_of_rare_ones():
    for vocabulary, ids in (
        make_vocabulary(np.array([3]), np.array([1]), 2, 10),
        make_vocabulary(np.zeros(0, np.int64), np.zeros(0, np.int64), 1, 10),
    ):
        assert both([[0, 3, -1]], vocabulary, ids).tolist() == [[0, 0, -1]]


def test_any_keys_are_found_or_not_as_in_a_dictionary():
    rng = np.random.default_rng(0)
    keys = np.unique(rng.integers(0, 2**63 - 1, 300))
    vocabulary, ids = make_vocabulary(keys[::2], rng.integers(1, 50, len(keys[::2])), 10, 80)
    known = dict(zip(vocabulary.tolist(), ids.tolist()))
    asked = rng.choice(np.append(keys, -1), (20, 3, 4))
    expected = [-1 if key < 0 else known.get(key, 0) for key in asked.reshape(-1).tolist()]
    assert both(asked, vocabulary, ids).reshape(-1).tolist() == expected
    assert both(np.zeros((0, 2), np.int64), vocabulary, ids).shape == (0, 2)


def test_the_width_is_static_in_a_graph_of_unknown_batch_size():
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.int64)])
    def graph(keys):
        out = once(look_up(keys, tf.constant([4, 9], tf.int64)))
        assert out.shape.as_list() == [None, None, 3]
        return out

    assert graph(tf.constant([[[9, 4, 9]]], tf.int64)).numpy().tolist() == [[[2, -1, 1]]]


def test_each_id_counts_once_whatever_the_order():
    for row in itertools.permutations([3, 3, -1, 7, 0]):
        ids = np.array([row, row[::-1]])
        expected = once_numpy(ids)
        np.testing.assert_array_equal(once(tf.constant(ids)), expected)
        assert sorted(expected[0]) == [-1, -1, 0, 3, 7]
    assert once_numpy(np.array([[5], [-1]])).tolist() == once(tf.constant([[5], [-1]], tf.int64)).numpy().tolist()
    assert once(tf.zeros([0, 4], tf.int64)).shape == (0, 4)
