"""Each interest against its paper's formula, item by item in numpy."""

import numpy as np
import pytest

from tests.unit.components.modeling.interactions.layers import weights_of
from tests.unit.components.modeling.interest.sequences import (
    AVERAGE,
    DIN,
    DIN_DEEP,
    DIN_SOFTMAX,
    LAST,
    LSTM,
    TARGET,
    make_inputs,
    make_layer,
    name_of,
    run,
)


def softmax(values):
    exponentials = np.exp(values - np.max(values))
    return exponentials / exponentials.sum()


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def din(weights, config, candidate, items):
    def weight_of(item):
        x = np.concatenate([item, candidate, item - candidate, item * candidate])
        for place in range(len(config.hidden_layers)):
            at = "activation_unit/"
            kernel, bias = (weights[at + (f"dense_{place}/{part}" if place else part)] for part in ("kernel", "bias"))
            x = x @ kernel + bias
            x = np.where(x > 0, x, weights[f"{at}activation_{place}/alpha"] * x)
        return (x @ weights["activation_unit/weight/kernel"] + weights["activation_unit/weight/bias"])[0]

    found = np.array([weight_of(item) for item in items])
    return (softmax(found) if config.softmax else found) @ items


def average(weights, config, candidate, items):
    return items.mean(0)


def lstm(weights, config, candidate, items):
    kernel, recurrent, bias = (weights[f"recurrent/cell/{part}"] for part in ("kernel", "recurrent_kernel", "bias"))
    state = memory = np.zeros(config.units)
    for item in items[::-1]:
        entry, forget, proposal, out = np.split(item @ kernel + state @ recurrent + bias, 4)
        memory = sigmoid(forget) * memory + sigmoid(entry) * np.tanh(proposal)
        state = sigmoid(out) * np.tanh(memory)
    return state @ weights["projection/kernel"] + weights["projection/bias"]


def transformer(weights, config, candidate, items):
    size, heads = config.head_size, config.attention_heads

    def norm(name, x):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * weights[f"{name}/gamma"] + weights[f"{name}/beta"]

    def dense(name, x):
        return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    x = items + weights["positions/embeddings"][: len(items)]
    for place in range(config.layers):
        at = f"layer_{place}"
        projected = norm(f"{at}/norm_0", x) @ weights[f"{at}/queries_keys_values/kernel"]
        queries, keys, values = np.split(projected, 3, axis=1)
        attended = np.zeros((len(items), heads * size))
        for own in range(len(items)):
            for head in range(heads):
                of_head = slice(head * size, (head + 1) * size)
                # The most recent comes first: what is older stands behind.
                shares = softmax(keys[own:, of_head] @ queries[own, of_head] / np.sqrt(size))
                attended[own, of_head] = shares @ values[own:, of_head]
        x = x + dense(f"{at}/joined", attended)
        x = x + dense(f"{at}/output", np.maximum(dense(f"{at}/hidden", norm(f"{at}/norm_1", x)), 0))
    x = norm("norm", x)
    if config.readout == "last":
        return x[0]
    return softmax(x @ (candidate @ weights["query/kernel"]) / np.sqrt(len(candidate))) @ x


FORMULAS = [
    (DIN, din),
    (DIN_SOFTMAX, din),
    (DIN_DEEP, din),
    (TARGET, transformer),
    (LAST, transformer),
    (LSTM, lstm),
    (AVERAGE, average),
]


# Large batches are divided among threads, and batches of single rows are where oneDNN has failed.
@pytest.mark.parametrize(("batch", "candidates", "length"), [(4, 3, 5), (1, 60, 5), (60, 1, 5), (60, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize(("values", "formula"), FORMULAS, ids=[name_of(values) for values, _ in FORMULAS])
def test_the_papers_formula(values, formula, batch, candidates, length):
    layer, inputs = make_layer(values, length), make_inputs(batch, candidates, length)
    weights, found = weights_of(layer), run(layer, inputs)
    assert found.shape == inputs[0].shape
    for b, (of_query, history, present) in enumerate(zip(*inputs)):
        for c, candidate in enumerate(of_query.astype(np.float64)):
            items = history[present].astype(np.float64)
            expected = formula(weights, layer.config, candidate, items) if len(items) else np.zeros(4)
            np.testing.assert_allclose(found[b, c], expected, rtol=2e-4, atol=2e-4)


def test_din_by_hand():
    layer = make_layer({"type": "din", "hidden_layers": [1]}, length=2, size=1)
    weights = {weight.name.split("activation_unit/")[1]: weight for weight in layer.trainable_weights}
    weights["kernel:0"].assign([[1.0], [2.0], [3.0], [4.0]])
    weights["bias:0"].assign([-1.0])
    weights["activation_0/alpha:0"].assign([0.5])
    weights["weight/kernel:0"].assign([[2.0]])
    weights["weight/bias:0"].assign([0.25])
    inputs = np.float32([[[2.0]]]), np.float32([[[1.0], [-1.0]]]), np.array([[True, True]])
    # 1 + 2 · 2 + 3 · (1 - 2) + 4 · 2 - 1 = 9, times 2 plus 0.25 is 18.25, times 1;
    # -1 + 2 · 2 + 3 · (-1 - 2) + 4 · (-2) - 1 = -15, halved and doubled plus 0.25 is -14.75, times -1.
    assert run(layer, inputs).tolist() == [[[33.0]]]
