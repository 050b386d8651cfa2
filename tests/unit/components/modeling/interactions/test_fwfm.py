import numpy as np
import tensorflow as tf

from crossrec.components.modeling.interactions import build
from crossrec.components.modeling.interactions.fm import second_order
from crossrec.components.modeling.interactions.fwfm import FwFMConfig
from tests.unit.components.modeling.interactions.layers import make_fields, make_layer


def test_fwfm_is_the_weighted_sum_over_pairs():
    fields = make_fields(rows=5, fields=4, size=3)
    layer = make_layer(FwFMConfig(), fields)
    (pairs,) = (weight.numpy() for weight in layer.trainable_weights)
    assert pairs.shape == (6,)
    expected, place = np.zeros((5, 1)), 0
    for i in range(4):
        for j in range(i + 1, 4):
            for n in range(5):
                expected[n, 0] += pairs[place] * sum(fields[n, i, k] * fields[n, j, k] for k in range(3))
            place += 1
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-4, atol=1e-5)


def test_fwfm_by_hand():
    fields = tf.constant([[[1.0, 2.0], [3.0, -1.0], [0.0, 4.0]]])
    layer = build(FwFMConfig())
    layer(fields)
    layer.trainable_weights[0].assign([10.0, 0.5, -1.0])
    # 10 · 1 + 0.5 · 8 - 1 · (-4).
    assert layer(fields).numpy().tolist() == [[18.0]]


def test_before_training_it_is_a_factorisation_machine():
    fields = make_fields()
    np.testing.assert_allclose(build(FwFMConfig())(fields), second_order(tf.constant(fields)), rtol=1e-4, atol=1e-5)


def test_every_pair_has_its_own_weight():
    fields = make_fields(rows=1)
    layer = make_layer(FwFMConfig(), fields)
    with tf.GradientTape() as tape:
        out = layer(fields)
    gradient = tape.gradient(out, layer.trainable_weights[0]).numpy()
    products = fields[0] @ fields[0].T
    np.testing.assert_allclose(gradient, products[np.triu_indices(4, 1)], rtol=1e-4)


def test_swapped_fields_are_another_example():
    fields = make_fields()
    layer = make_layer(FwFMConfig(), fields)
    assert not np.allclose(layer(fields), layer(fields[:, [1, 0, 2, 3]]), atol=1e-2)
