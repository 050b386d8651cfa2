"""Similarity of vectors: golden numbers, zeros, sizes, and TensorFlow against the reference."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.crosses.similarity import similarity, similarity_numpy

BOTH = ("dot", "cosine")


def both(left, right, measures=BOTH):
    left, right = np.asarray(left, np.float32), np.asarray(right, np.float32)
    expected = similarity_numpy(left, right, measures)
    for function in (similarity, tf.function(similarity)):
        found = function(tf.constant(left), tf.constant(right), measures)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    return expected


def test_golden_numbers_by_hand():
    found = both([[3, 4], [1, 0], [1, 1], [2, -1]], [[6, 8], [0, 5], [-2, -2], [1, 2]])
    np.testing.assert_allclose(found, [[50, 1], [0, 0], [-4, -1], [0, 0]], atol=1e-6)


def test_the_cosine_of_a_vector_of_zeros_is_zero():
    assert both([[0, 0], [0, 0], [1, 2]], [[1, 2], [0, 0], [0, 0]]).tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("size", [1e-30, 1e-10, 1e10, 1e18])
def test_the_cosine_does_not_depend_on_lengths(size):
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(20, 6)), rng.normal(size=(20, 6))
    cosine = similarity_numpy(u, v, ("cosine",))
    for left, right in ((u * size, v), (u, v * size)):
        found = similarity(tf.constant(left, tf.float32), tf.constant(right, tf.float32), ("cosine",))
        np.testing.assert_allclose(found, cosine, rtol=1e-4, atol=1e-5)


def test_the_order_of_inputs_does_not_matter_and_that_of_measures_does():
    rng = np.random.default_rng(1)
    u, v = rng.normal(size=(9, 5)), rng.normal(size=(9, 5))
    np.testing.assert_array_equal(both(u, v), both(v, u))
    np.testing.assert_array_equal(both(u, v), both(u, v, BOTH[::-1])[:, ::-1])
    np.testing.assert_array_equal(both(u, v)[:, 1:], both(u, v, ("cosine",)))


def test_a_query_meets_each_of_its_candidates():
    rng = np.random.default_rng(2)
    query, items = rng.normal(size=(3, 1, 4)), rng.normal(size=(3, 5, 4))
    found = both(query, items)
    assert found.shape == (3, 5, 2)
    for b in range(3):
        np.testing.assert_allclose(found[b], both(np.repeat(query[b], 5, 0), items[b]), rtol=1e-6)
    assert both(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0, 2)
