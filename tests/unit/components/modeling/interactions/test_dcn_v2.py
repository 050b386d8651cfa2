import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from crossrec.components.modeling.interactions.dcn_v2 import DCNV2Config
from tests.unit.components.modeling.interactions.layers import make_fields, make_layer, run_deep, weights_of

SIZE = 6
NO_DEEP = {"layers": ()}


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum()


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


def cross(layer, fields, layers, gate=softmax, g=np.tanh):
    """Equations 1 to 4 of the paper, one example and one expert at a time."""
    weights, out = weights_of(layer), []
    for first in fields.reshape(len(fields), SIZE).astype(np.float64):
        current = first
        for place in range(layers):
            at = f"cross_{place}/"
            down = weights.get(at + "down/kernel")
            if at + "up/bias" in weights:
                low = current if down is None else current @ down
                current = first * (low @ weights[at + "up/kernel"] + weights[at + "up/bias"]) + current
                continue
            rank = next(v.shape[0] for k, v in weights.items() if k.startswith(at + "inner_0"))
            experts = down.shape[1] // rank
            scores = current @ weights[at + "gate/kernel"] if at + "gate/kernel" in weights else np.zeros(1)
            following = current
            for k in range(experts):
                rows = slice(k * rank, (k + 1) * rank)
                low = g(g(current @ down[:, rows]) @ weights[f"{at}inner_{k}/kernel"])
                expert = first * (low @ weights[at + "up/kernel"][rows] + weights[at + "bias"])
                following = following + gate(scores)[k] * expert
            current = following
        out.append(current)
    return np.array(out)


@pytest.mark.parametrize("low_rank", [None, 2])
@pytest.mark.parametrize("deep", [(), (7, 5)])
@pytest.mark.parametrize("layers", [1, 3])
def test_dcn_v2_is_the_formula_of_the_paper(low_rank, deep, layers):
    fields = make_fields(fields=3, size=2)
    layer = make_layer(DCNV2Config(cross_layers=layers, low_rank=low_rank, deep={"layers": deep}), fields)
    weights = weights_of(layer)
    assert len(weights) == layers * (3 if low_rank else 2) + 2 * len(deep)
    if low_rank:
        assert weights["cross_0/down/kernel"].shape == (6, 2) and weights["cross_0/up/kernel"].shape == (2, 6)
    expected = cross(layer, fields, layers)
    if deep:
        expected = np.concatenate([expected, run_deep(layer, fields.reshape(6, 6))], 1)
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("experts", [1, 3])
@pytest.mark.parametrize("gate", [softmax, sigmoid])
@pytest.mark.parametrize(("activation", "g"), [("tanh", np.tanh), ("relu", lambda x: np.maximum(x, 0))])
def test_a_mixture_is_the_formula_of_the_paper(experts, gate, activation, g):
    fields = make_fields(fields=3, size=2)
    mixture = {"experts": experts, "activation": activation, "gate": gate.__name__}
    layer = make_layer(DCNV2Config(cross_layers=2, low_rank=2, mixture=mixture, deep=NO_DEEP), fields)
    assert ("cross_0/gate/kernel" in weights_of(layer)) == (experts > 1 or gate is sigmoid)
    if gate is sigmoid and experts == 1:
        assert weights_of(layer)["cross_0/gate/kernel"].shape == (SIZE, 1)
    np.testing.assert_allclose(layer(fields), cross(layer, fields, 2, gate, g), rtol=1e-4, atol=1e-4)


def test_dcn_v2_by_hand():
    fields = tf.constant([[[1.0], [2.0]]])
    layer = make_layer(DCNV2Config(cross_layers=1, deep=NO_DEEP), fields)
    kernel, bias = layer.trainable_weights
    kernel.assign([[3.0, 0.0], [1.0, -1.0]])
    bias.assign([0.5, 1.0])
    # W x + b = (1*3 + 2*1 + 0.5, -2 + 1) = (5.5, -1); times x0 plus x: (5.5 + 1, -2 + 2).
    assert layer(fields).numpy().tolist() == [[6.5, 0.0]]


def test_one_expert_without_nonlinearity_is_the_low_rank_layer():
    fields = make_fields(fields=3, size=2)
    mixture = {"experts": 1, "activation": "none"}
    mixed = make_layer(DCNV2Config(cross_layers=3, low_rank=2, mixture=mixture, deep=NO_DEEP), fields)
    plain = make_layer(DCNV2Config(cross_layers=3, low_rank=2, deep=NO_DEEP), fields)
    by_path = {path.replace("up/bias", "bias"): weight for path, weight in weights_of(plain).items()}
    assert by_path.keys() == weights_of(mixed).keys()
    for weight in mixed.trainable_weights:
        weight.assign(by_path[weight.name.partition("/")[2].partition(":")[0]])
    np.testing.assert_allclose(mixed(fields), plain(fields), rtol=1e-5)


def test_equal_experts_are_one_whatever_the_gate_says():
    fields = make_fields(fields=3, size=2)
    layer = make_layer(DCNV2Config(low_rank=2, mixture={"experts": 3}, deep=NO_DEEP), fields)
    single = make_layer(DCNV2Config(low_rank=2, mixture={"experts": 1}, deep=NO_DEEP), fields)
    alone = weights_of(single)
    for weight in layer.trainable_weights:
        path = (
            weight.name.partition("/")[2].partition(":")[0].replace("inner_1", "inner_0").replace("inner_2", "inner_0")
        )
        if not path.endswith("gate/kernel"):
            value = alone[path]
            repeats = {"down": (1, 3), "up": (3, 1)}.get(path.split("/")[1])
            weight.assign(np.tile(value, repeats) if repeats else value)
    np.testing.assert_allclose(layer(fields), single(fields), rtol=1e-4)


def test_without_biases_a_cross_network_has_no_higher_degree_than_layers_and_one():
    fields = make_fields(rows=2, fields=3, size=2)
    layer = make_layer(DCNV2Config(cross_layers=2, deep=NO_DEEP), fields)
    for scale, points in ((3, 4), (2, 3)):
        # A polynomial of degree n is fixed by n + 1 points; one point fewer misses the highest degree.
        at = np.arange(1, points + 1)
        values = np.array([layer(fields * x).numpy() for x in at], np.float64).reshape(points, -1)
        fit = np.polynomial.polynomial.polyfit(at, values, points - 1)
        beyond = np.polynomial.polynomial.polyval(6.0, fit)
        assert np.allclose(beyond, layer(fields * 6).numpy().ravel(), rtol=1e-3, atol=1e-2) == (scale == 3)


@pytest.mark.parametrize("mixture", [None, {"experts": 2}])
def test_stacked_the_deep_network_sees_the_crosses(mixture):
    fields = make_fields(fields=3, size=2)
    layer = make_layer(DCNV2Config(low_rank=2, mixture=mixture, structure="stacked", deep={"layers": (5, 4)}), fields)
    expected = run_deep(layer, cross(layer, fields, 2))
    assert expected.shape == (6, 4)
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-4, atol=1e-4)


def test_experts_need_a_rank():
    with pytest.raises(ValidationError, match="'low_rank' is missing. Add it, as in 'low_rank: 32'"):
        DCNV2Config(mixture={})
