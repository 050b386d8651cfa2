"""Multi-task heads against the papers' formulas in numpy, and by what they share and what they do not."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from pydantic import TypeAdapter, ValidationError

from crossrec.components.modeling import heads, runtime
from tests.unit.components.modeling.interactions.layers import weights_of
from tests.unit.components.small_models import randomise

runtime.prepare()

CONFIG = TypeAdapter(heads.HeadsConfig)
EVERY = [
    {"type": "shared_bottom"},
    {"type": "shared_bottom", "tower_layers": [5, 3]},
    {"type": "mmoe", "experts": 3, "expert_layers": [6, 4]},
    {"type": "mmoe", "experts": 2, "expert_layers": [4], "tower_layers": [3]},
    {"type": "ple", "levels": 1, "expert_layers": [4], "shared_experts": 1, "task_experts": 2},
    {"type": "ple", "levels": 3, "expert_layers": [5], "shared_experts": 2, "task_experts": 1, "tower_layers": [3]},
]


def make_hidden(rows=6, units=7, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, units)).astype(np.float32)


def make_layer(values, tasks=2, units=7, seed=0):
    layer = heads.build(CONFIG.validate_python(values), tasks)
    layer(tf.zeros([1, units]))
    randomise(layer, seed)
    return layer


def expected_logits(layer, hidden):
    """The layer's formula in numpy."""
    weights, config = weights_of(layer), layer.config

    def below(prefix):
        return [value for path, value in weights.items() if path.startswith(prefix)]

    def network(prefix, x):
        values = below(prefix)
        for kernel, bias in zip(values[::2], values[1::2]):
            x = np.maximum(x @ kernel + bias, 0)
        return x

    def gate(prefix, x, experts):
        kernel, bias = below(prefix)
        exponentials = np.exp(x @ kernel + bias)
        shares = exponentials / exponentials.sum(1, keepdims=True)
        return sum(shares[:, e : e + 1] * expert for e, expert in enumerate(experts))

    def experts(prefix, x, number):
        return [network(f"{prefix}/expert_{e}/", x) for e in range(number)]

    def towers(inputs):
        out = []
        for task, x in enumerate(inputs):
            kernel, bias = below(f"towers/logit_{task}/")
            out.append(network(f"towers/network_{task}/", x) @ kernel + bias)
        return np.concatenate(out, 1)

    tasks = range(layer.tasks)
    if config.type == "shared_bottom":
        if not config.tower_layers:
            return hidden @ weights["logits/kernel"] + weights["logits/bias"]
        return towers([hidden for _ in tasks])
    if config.type == "mmoe":
        shared = experts("experts", hidden, config.experts)
        return towers([gate(f"gate_{task}/", hidden, shared) for task in tasks])
    own, common = [hidden for _ in tasks], hidden
    for level in range(config.levels):
        at = f"level_{level}"
        of_tasks = [experts(f"{at}/experts_{task}", own[task], config.task_experts) for task in tasks]
        of_all = experts(f"{at}/experts_shared", common, config.shared_experts)
        own = [gate(f"{at}/gate_{task}/", own[task], of_tasks[task] + of_all) for task in tasks]
        if level < config.levels - 1:
            common = gate(f"{at}/gate_shared/", common, [expert for part in of_tasks for expert in part] + of_all)
    return towers(own)


@pytest.mark.parametrize("values", EVERY)
@pytest.mark.parametrize(("rows", "tasks"), [(6, 2), (1, 1), (300, 3)])
def test_the_papers_formula(values, rows, tasks):
    layer, hidden = make_layer(values, tasks), make_hidden(rows)
    np.testing.assert_allclose(layer(hidden), expected_logits(layer, hidden.astype(np.float64)), rtol=1e-4, atol=1e-4)


def test_the_default_is_one_dense_layer():
    hidden = make_hidden()
    found = []
    for make in (
        lambda: tf_keras.layers.Dense(2, dtype="float32"),
        lambda: heads.build(heads.shared_bottom.SharedBottomConfig(), 2),
    ):
        tf_keras.utils.set_random_seed(4)
        found.append(make()(hidden).numpy())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("values", EVERY)
def test_gradients_reach_every_expert_gate_and_tower(values):
    layer, hidden = make_layer(values), make_hidden(rows=40)
    with tf.GradientTape() as tape:
        out = layer(hidden)
        loss = tf.reduce_sum(out * tf.constant(np.random.default_rng(2).normal(size=out.shape), tf.float32))
    for weight, gradient in zip(layer.trainable_weights, tape.gradient(loss, layer.trainable_weights)):
        assert np.any(gradient.numpy()), weight.name


def reached_by_task(layer, task, hidden):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(hidden)[:, task])
    gradients = tape.gradient(loss, layer.trainable_weights, unconnected_gradients="zero")
    return {path for path, gradient in zip(weights_of(layer), gradients) if np.any(gradient.numpy())}


def test_a_task_of_ple_leaves_the_other_tasks_last_experts_alone_and_shares_those_below():
    values = {"type": "ple", "levels": 2, "expert_layers": [4], "shared_experts": 1, "task_experts": 1}
    reached = reached_by_task(make_layer(values), 0, make_hidden(rows=40))
    assert not any(path.startswith(("level_1/experts_1", "level_1/gate_1", "level_0/gate_1")) for path in reached)
    for prefix in ("level_0/experts_1/", "level_0/experts_shared/", "level_1/experts_shared/", "level_0/gate_shared/"):
        assert any(path.startswith(prefix) for path in reached), prefix


def test_tasks_of_mmoe_share_all_experts_and_no_gate():
    layer, hidden = make_layer({"type": "mmoe", "experts": 2, "expert_layers": [8]}), make_hidden(rows=40)
    first, second = (reached_by_task(layer, task, hidden) for task in (0, 1))
    assert {path for path in first & second} == {path for path in weights_of(layer) if path.startswith("experts/")}


def test_a_gate_that_chooses_one_expert_gives_that_expert():
    layer, hidden = make_layer({"type": "mmoe", "experts": 3, "expert_layers": [4]}), make_hidden()
    for gate in layer._gates:
        for weight, value in zip(gate.trainable_weights, (np.zeros((7, 3)), [-200.0, 200.0, -200.0])):
            weight.assign(value)
    weights = weights_of(layer)
    kernel, bias = (value for path, value in weights.items() if path.startswith("experts/expert_1/"))
    for task in (0, 1):
        chosen = np.maximum(hidden @ kernel + bias, 0)
        expected = chosen @ weights[f"towers/logit_{task}/kernel"] + weights[f"towers/logit_{task}/bias"]
        np.testing.assert_allclose(layer(hidden)[:, task : task + 1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", EVERY)
def test_a_row_has_its_logits_alone_and_among_others(values):
    layer, hidden = make_layer(values), make_hidden(rows=50)
    whole = layer(hidden).numpy()
    for row in (0, 17, 49):
        np.testing.assert_allclose(layer(hidden[row : row + 1])[0], whole[row], rtol=1e-4, atol=1e-5)
    assert layer(hidden[:0]).shape == (0, 2)


def test_dropout_is_for_training():
    hidden = make_hidden()
    for values in (EVERY[1], EVERY[2], EVERY[4]):
        layer = make_layer({**values, "dropout": 0.5})
        np.testing.assert_allclose(layer(hidden, training=False), expected_logits(layer, hidden), rtol=1e-3, atol=1e-4)
        assert not np.allclose(layer(hidden, training=True), layer(hidden, training=False), atol=1e-3)


@pytest.mark.parametrize("values", EVERY)
def test_logits_stay_float32_in_mixed_precision(values):
    tf_keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        layer = make_layer(values)
        half = layer(tf.constant(make_hidden(), tf.float16))
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    assert half.dtype == tf.float32
    np.testing.assert_allclose(half, expected_logits(layer, make_hidden()), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"type": "moe"}, "'shared_bottom', 'mmoe', 'ple'"),
        ({"type": "mmoe", "experts": 0}, "greater than or equal to 1"),
        ({"type": "mmoe", "expert_layers": []}, "at least 1 item"),
        ({"type": "ple", "levels": 0}, "greater than or equal to 1"),
        ({"type": "ple", "experts": 3}, "Extra inputs"),
        ({"type": "shared_bottom", "dropout": 1.0}, "less than 1"),
    ],
)
def test_what_cannot_be_is_refused(values, complaint):
    with pytest.raises(ValidationError, match=complaint):
        CONFIG.validate_python(values)
