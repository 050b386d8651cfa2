import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.modeling.interactions.dcn_v2 import DCNV2Config
from crossrec.components.modeling.interactions.gdcn import GDCNConfig
from tests.unit.components.modeling.interactions.layers import (
    make_fields,
    make_layer,
    run_deep,
    weights_of,
    weights_without_gradient,
)
from tests.unit.components.modeling.interactions.stacks import sigmoid

NO_DEEP = {"layers": ()}


def gated_cross(layer, first, layers):
    """c_0 * (W c + b) * sigmoid(W_g c) + c."""
    weights, current = weights_of(layer), first
    for place in range(layers):
        part = {path.partition("/")[2]: value for path, value in weights.items() if path.startswith(f"cross_{place}/")}
        crossed = current @ part["cross/kernel"] + part["cross/bias"]
        current = first * crossed * sigmoid(current @ part["gate/kernel"]) + current
    return current


@pytest.mark.parametrize("structure", ["parallel", "stacked"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("deep", [(), (7, 5)])
def test_gdcn_is_the_formula_of_the_paper(structure, layers, deep):
    fields = make_fields(fields=3, size=2)
    layer = make_layer(GDCNConfig(structure=structure, cross_layers=layers, deep={"layers": deep}), fields)
    assert len(weights_of(layer)) == 3 * layers + 2 * len(deep)
    first = fields.reshape(6, 6).astype(np.float64)
    expected = gated_cross(layer, first, layers)
    if deep and structure == "parallel":
        expected = np.concatenate([expected, run_deep(layer, first)], 1)
    elif deep:
        expected = run_deep(layer, expected)
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-4, atol=1e-4)


def test_gdcn_by_hand():
    fields = tf.constant([[[1.0], [2.0]]])
    layer = make_layer(GDCNConfig(cross_layers=1, deep=NO_DEEP), fields)
    kernel, bias, gate = layer.trainable_weights
    kernel.assign([[3.0, 0.0], [1.0, -1.0]])
    bias.assign([0.5, 1.0])
    gate.assign([[0.0, np.log(3.0)], [0.0, 0.0]])
    # W c + b = (5.5, -1), gates 1/2 and 3/4: (1 * 5.5 / 2 + 1, 2 * -1 * 3/4 + 2).
    np.testing.assert_allclose(layer(fields), [[3.75, 0.5]], rtol=1e-6)


def test_with_gates_at_zero_it_is_the_cross_network_at_half_strength():
    fields = make_fields(fields=3, size=2)
    gated = make_layer(GDCNConfig(cross_layers=2, deep=NO_DEEP), fields)
    plain = make_layer(DCNV2Config(cross_layers=2, deep=NO_DEEP), fields)
    weights = weights_of(gated)
    for weight in gated.trainable_weights:
        if "gate" in weight.name:
            weight.assign(tf.zeros_like(weight))
    crosses = [value for path, value in weights.items() if "gate" not in path]
    plain.set_weights([value / 2 for value in crosses])
    np.testing.assert_allclose(gated(fields), plain(fields), rtol=1e-5, atol=1e-6)


def test_open_gates_give_the_cross_network_and_closed_ones_the_fields():
    fields = np.abs(make_fields(fields=3, size=2)) + 0.1
    gated = make_layer(GDCNConfig(cross_layers=1, deep=NO_DEEP), fields)
    plain = make_layer(DCNV2Config(cross_layers=1, deep=NO_DEEP), fields)
    kernel, bias, gate = gated.trainable_weights
    plain.set_weights([kernel.numpy(), bias.numpy()])
    gate.assign(np.full([6, 6], 1000.0))
    np.testing.assert_allclose(gated(fields), plain(fields), rtol=1e-5)
    gate.assign(np.full([6, 6], -1000.0))
    np.testing.assert_allclose(gated(fields), fields.reshape(6, 6), rtol=1e-6)


def test_no_fields_no_crosses():
    layer = make_layer(GDCNConfig(deep=NO_DEEP), make_fields())
    assert (layer(tf.zeros([2, 4, 3])).numpy() == 0).all()


@pytest.mark.parametrize("structure", ["parallel", "stacked"])
def test_the_gradient_reaches_every_weight(structure):
    fields = make_fields(rows=40)
    assert not weights_without_gradient(make_layer(GDCNConfig(structure=structure), fields), fields)
