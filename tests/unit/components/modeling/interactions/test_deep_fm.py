import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.modeling.interactions.deep_fm import DeepFMConfig
from crossrec.components.modeling.interactions.fm import FMConfig
from tests.unit.components.modeling.interactions.layers import make_fields, make_layer, run_deep, weights_of


@pytest.mark.parametrize("layers", [(5,), (7, 5)])
def test_deep_fm_is_both_parts_side_by_side(layers):
    fields = make_fields(rows=5, fields=4, size=3)
    layer = make_layer(DeepFMConfig(deep={"layers": layers}), fields)
    pairs = [
        sum(np.dot(example[i], example[j]) for i in range(4) for j in range(i + 1, 4))
        for example in fields.astype(np.float64)
    ]
    expected = np.concatenate([np.reshape(pairs, (5, 1)), run_deep(layer, fields.reshape(5, 12))], 1)
    assert expected.shape == (5, 1 + layers[-1])
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-4, atol=1e-4)


def test_deep_fm_by_hand():
    fields = tf.constant([[[1.0], [2.0]]])
    layer = make_layer(DeepFMConfig(deep={"layers": [2]}), fields)
    kernel, bias = layer.trainable_weights
    kernel.assign([[1.0, 3.0], [1.0, -2.0]])
    bias.assign([0.5, 0.5])
    # 1 · 2; ReLU(1 + 2 + 0.5), ReLU(3 - 4 + 0.5).
    assert layer(fields).numpy().tolist() == [[2.0, 3.5, 0.0]]


def test_without_a_deep_network_it_is_a_factorisation_machine():
    fields = make_fields()
    layer = make_layer(DeepFMConfig(deep={"layers": []}), fields)
    np.testing.assert_array_equal(layer(fields), make_layer(FMConfig(), fields)(fields))
    assert not weights_of(layer)


def test_only_the_deep_part_knows_the_order_of_fields():
    fields = make_fields()
    layer = make_layer(DeepFMConfig(deep={"layers": [6]}), fields)
    one, other = layer(fields).numpy(), layer(fields[:, ::-1]).numpy()
    np.testing.assert_allclose(one[:, 0], other[:, 0], rtol=1e-4)
    assert not np.allclose(one[:, 1:], other[:, 1:], atol=1e-2)
