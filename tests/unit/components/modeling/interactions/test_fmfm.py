import numpy as np
import tensorflow as tf

from crossrec.components.modeling.interactions import build
from crossrec.components.modeling.interactions.fm import second_order
from crossrec.components.modeling.interactions.fmfm import FmFMConfig
from crossrec.components.modeling.interactions.fwfm import FwFMConfig
from tests.unit.components.modeling.interactions.layers import make_fields, make_layer


def test_fmfm_is_the_sum_over_pairs_of_products_with_a_matrix():
    fields = make_fields(rows=5, fields=4, size=3)
    layer = make_layer(FmFMConfig(), fields)
    (pairs,) = (weight.numpy() for weight in layer.trainable_weights)
    assert pairs.shape == (6, 3, 3)
    expected, place = np.zeros((5, 1)), 0
    for i in range(4):
        for j in range(i + 1, 4):
            for n in range(5):
                expected[n, 0] += fields[n, i] @ pairs[place] @ fields[n, j]
            place += 1
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-4, atol=1e-5)


def test_fmfm_by_hand():
    fields = tf.constant([[[1.0, 2.0], [3.0, -1.0]]])
    layer = build(FmFMConfig())
    layer(fields)
    layer.trainable_weights[0].assign([[[0.0, 1.0], [5.0, 0.0]]])
    # (1, 2) M = (10, 1); times (3, -1) is 29. The transposed matrix would give 13.
    assert layer(fields).numpy().tolist() == [[29.0]]


def test_before_training_it_is_a_factorisation_machine():
    fields = make_fields()
    np.testing.assert_allclose(build(FmFMConfig())(fields), second_order(tf.constant(fields)), rtol=1e-4, atol=1e-5)


def test_multiples_of_the_identity_are_fwfm():
    fields = make_fields()
    weighted, matrixed = make_layer(FwFMConfig(), fields), make_layer(FmFMConfig(), fields)
    numbers = weighted.trainable_weights[0].numpy()
    matrixed.trainable_weights[0].assign(numbers[:, None, None] * np.eye(3))
    np.testing.assert_allclose(matrixed(fields), weighted(fields), rtol=1e-4, atol=1e-5)


def test_every_entry_of_every_matrix_learns():
    fields = make_fields(rows=1)
    layer = make_layer(FmFMConfig(), fields)
    with tf.GradientTape() as tape:
        out = layer(fields)
    gradient = tape.gradient(out, layer.trainable_weights[0]).numpy()
    first, second = np.triu_indices(4, 1)
    np.testing.assert_allclose(gradient, np.einsum("pa,pb->pab", fields[0, first], fields[0, second]), rtol=1e-4)
