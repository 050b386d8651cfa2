import itertools

import numpy as np
import tensorflow as tf

from crossrec.components.modeling.interactions.fm import FMConfig, second_order
from tests.unit.components.modeling.interactions.layers import make_fields, make_layer


def test_fm_is_the_sum_over_pairs():
    fields = make_fields(rows=5, fields=6, size=4)
    layer = make_layer(FMConfig(), fields)
    expected = np.zeros((5, 1))
    for n in range(5):
        for i in range(6):
            for j in range(i + 1, 6):
                for k in range(4):
                    expected[n, 0] += float(fields[n, i, k]) * float(fields[n, j, k])
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-5, atol=1e-5)
    assert not layer.weights


def test_fm_by_hand():
    # (1, 2)·(3, -1) + (1, 2)·(0, 4) + (3, -1)·(0, 4) = 1 + 8 - 4.
    assert second_order(tf.constant([[[1.0, 2.0], [3.0, -1.0], [0.0, 4.0]]])).numpy().tolist() == [[5.0]]


def test_the_order_of_fields_does_not_matter():
    fields = make_fields(fields=4)
    first = second_order(tf.constant(fields)).numpy()
    for order in itertools.permutations(range(4)):
        np.testing.assert_allclose(second_order(tf.constant(fields[:, order])), first, rtol=1e-4, atol=1e-6)


def test_a_lone_field_has_no_pair():
    np.testing.assert_allclose(second_order(tf.constant(make_fields(fields=1))), np.zeros((6, 1)), atol=1e-6)


def test_small_pairs_beside_large_fields_survive_float16():
    # Squares of sums are 900 here, where float16 counts in steps of a half.
    fields = tf.constant([[[30.0, 0.0], [0.0, 0.25], [0.0, 0.5]]], tf.float16)
    found = second_order(fields)
    assert found.dtype == tf.float16 and found.numpy().tolist() == [[0.125]]
