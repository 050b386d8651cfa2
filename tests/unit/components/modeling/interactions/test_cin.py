import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from crossrec.components.modeling.interactions.cin import XDeepFMConfig
from tests.unit.components.modeling.interactions.layers import make_fields, make_layer, run_deep, weights_of

NO_DEEP = {"layers": ()}
ACTIVATIONS = {"linear": lambda x: x, "relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}


def cin(layer, fields, units, split_half=False, g=ACTIVATIONS["linear"]):
    """Equations 6 to 8 of the paper, one example, feature map and pair at a time."""
    weights, out = weights_of(layer), []
    for example in fields.astype(np.float64):
        current, pooled = example, []
        for place, count in enumerate(units):
            kernel = weights[f"cin_{place}/compress/kernel"]
            assert kernel.shape == (len(current) * len(example), count)
            maps = np.zeros((count, example.shape[1]))
            for h in range(count):
                for i in range(len(current)):
                    for j in range(len(example)):
                        maps[h] += kernel[i * len(example) + j, h] * current[i] * example[j]
            maps = g(maps)
            current = shown = maps
            if split_half and place < len(units) - 1:
                current, shown = maps[: count // 2], maps[count // 2 :]
            pooled.append(shown.sum(1))
        out.append(np.concatenate(pooled))
    return np.array(out)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("split_half", [False, True])
@pytest.mark.parametrize("units", [(3,), (4, 6, 3)])
def test_cin_is_the_formula_of_the_paper(units, split_half, activation):
    fields = make_fields(rows=5, fields=4, size=3)
    config = XDeepFMConfig(cin_layers=units, split_half=split_half, activation=activation, deep=NO_DEEP)
    layer = make_layer(config, fields)
    expected = cin(layer, fields, units, split_half, ACTIVATIONS[activation])
    assert expected.shape == (5, sum(units[:-1]) // (2 if split_half else 1) + units[-1])
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-3, atol=1e-3)


def test_cin_by_hand():
    fields = tf.constant([[[1.0, 2.0], [3.0, -1.0]]])
    layer = make_layer(XDeepFMConfig(cin_layers=(1, 1), deep=NO_DEEP), fields)
    first, second = layer.trainable_weights
    first.assign([[1.0], [0.0], [2.0], [0.0]])
    second.assign([[0.0], [10.0]])
    # X1 = x1 x1 + 2 x2 x1 = (1, 4) + 2 (3, -2) = (7, 0); X2 = 10 X1 x2 = (210, 0).
    assert layer(fields).numpy().tolist() == [[7.0, 210.0]]


def test_the_deep_network_stands_beside_the_maps():
    fields = make_fields()
    layer = make_layer(XDeepFMConfig(cin_layers=(3,), deep={"layers": (7, 5)}), fields)
    expected = np.concatenate([cin(layer, fields, (3,)), run_deep(layer, fields.reshape(6, 12))], 1)
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-4, atol=1e-4)


def test_a_layer_is_of_one_degree_more_than_the_one_below():
    fields = make_fields()
    layer = make_layer(XDeepFMConfig(cin_layers=(3, 2, 4), deep=NO_DEEP), fields)
    degrees = np.array([2] * 3 + [3] * 2 + [4] * 4)
    for factor in (2.0, -3.0, 0.5):
        expected = layer(fields).numpy() * factor**degrees
        np.testing.assert_allclose(layer(fields * np.float32(factor)), expected, rtol=1e-3, atol=1e-3)


def test_dimensions_meet_only_themselves_so_that_their_order_does_not_matter():
    fields = make_fields(size=4)
    layer = make_layer(XDeepFMConfig(cin_layers=(3, 3), deep=NO_DEEP), fields)
    np.testing.assert_allclose(layer(fields[:, :, [2, 0, 3, 1]]), layer(fields), rtol=1e-3, atol=1e-4)
    parts = sum(layer(fields * (np.arange(4) == k).astype(np.float32)).numpy() for k in range(4))
    np.testing.assert_allclose(layer(fields), parts, rtol=1e-3, atol=1e-3)


def test_odd_maps_cannot_be_halved():
    with pytest.raises(ValidationError, match=r"cin_layers \[4, 3, 5\] cannot be split.*even"):
        XDeepFMConfig(cin_layers=(4, 3, 5), split_half=True)
    XDeepFMConfig(cin_layers=(4, 2, 5), split_half=True)
