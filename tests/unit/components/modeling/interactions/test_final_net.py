import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from crossrec.components.modeling.interactions.final_net import FactorisedLayer, FieldGate, FinalNetConfig
from crossrec.components.modeling.interactions.streams import streams_alone
from tests.unit.components.modeling.interactions.layers import make_fields, make_layer, weights_without_gradient
from tests.unit.components.modeling.interactions.stacks import (
    all_weights,
    below,
    cross_entropy,
    normalise,
    randomise_statistics,
    sigmoid,
)
from tests.unit.components.small_models import randomise

BLOCKS = ({"layers": (8, 6), "batch_normalisation": True, "dropout": 0.2}, {"layers": (4,), "dropout": 0.2})
PLAIN = ({"layers": (8, 6)}, {"layers": (4,)})


def block(layer, place, inputs, residual):
    path = f"block_{place}"
    for depth, (kernel, bias) in enumerate(zip(below(layer, path, "kernel"), below(layer, path, "bias"))):
        half = kernel.shape[1] // 2
        linear = inputs @ kernel[:, :half] + bias[:half]
        product = linear * (inputs @ kernel[:, half:] + bias[half:])
        hidden = linear + product if residual == "sum" else np.concatenate([linear, product], 1)
        inputs = np.maximum(normalise(layer, path, depth, hidden), 0)
    return inputs


def gated(layer, fields):
    """Each field, and behind them each field times a mix of all."""
    weights = all_weights(layer)
    mix, bias = weights["gate/mix/kernel"], weights["gate/mix/bias"]
    out = [
        [example[i] * (sum(mix[j, i] * example[j] for j in range(len(example))) + bias[i]) for i in range(len(example))]
        for example in fields
    ]
    return np.concatenate([fields, np.array(out)], 1)


@pytest.mark.parametrize("residual", ["sum", "concat"])
@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("blocks", [1, 2])
def test_final_net_is_the_formula_of_the_paper(residual, gate, blocks):
    fields = make_fields()
    config = FinalNetConfig(blocks=BLOCKS[:blocks], field_gate=gate, residual=residual)
    layer = make_layer(config, fields)
    randomise_statistics(layer)
    seen = gated(layer, fields) if gate else fields
    expected = block(layer, 0, seen.reshape(6, -1), residual)
    if blocks == 2:
        expected = np.concatenate([expected, block(layer, 1, fields.reshape(6, -1), residual)], 1)
    assert expected.shape == (6, 10 if blocks == 2 else 6)
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("residual", "expected"), [("sum", [[-10.0]]), ("concat", [[5.0, -15.0]])])
def test_a_layer_by_hand(residual, expected):
    layer = FactorisedLayer(1 if residual == "sum" else 2, residual)
    inputs = tf.constant([[1.0, 2.0]])
    layer(inputs)
    layer.set_weights([np.array([[2.0, 1.0], [1.0, -3.0]]), np.array([1.0, 2.0])])
    # 1 * 2 + 2 * 1 + 1 = 5 and 1 - 6 + 2 = -3; 5 * -3 = -15.
    assert layer(inputs).numpy().tolist() == expected


def test_the_degree_doubles_with_each_layer():
    inputs, scales = np.random.default_rng(4).normal(size=(3, 5)), np.arange(1.0, 7.0)
    layers = [FactorisedLayer(4, "sum") for _ in range(2)]
    out = []
    for scale in scales:
        hidden = tf.constant(inputs * scale, tf.float32)
        for place, layer in enumerate(layers):
            layer(hidden)
            if scale == 1:
                randomise(layer, place)
            hidden = layer(hidden)
        out.append(hidden.numpy().astype(np.float64))
    # Along a ray the output is a polynomial of degree four: its fifth differences vanish, its fourth do not.
    values = np.stack(out)
    size = np.abs(values).max()
    assert np.abs(np.diff(values, 5, axis=0)).max() < 1e-4 * size < np.abs(np.diff(values, 4, axis=0)).max()


def test_the_gate_begins_by_repeating_the_fields():
    fields = make_fields()
    np.testing.assert_allclose(FieldGate()(fields), np.concatenate([fields, fields], 1), rtol=1e-6)


@pytest.mark.parametrize("residual", ["sum", "concat"])
def test_the_gradient_reaches_every_weight(residual):
    fields = make_fields(rows=40)
    layer = make_layer(FinalNetConfig(blocks=PLAIN, residual=residual), fields)
    assert not weights_without_gradient(layer, fields)


def test_dropout_and_the_batchs_own_averages_are_for_training_only():
    fields = make_fields(rows=30)
    layer = make_layer(FinalNetConfig(blocks=BLOCKS), fields)
    np.testing.assert_allclose(layer(fields)[:5], layer(fields[:5]), rtol=1e-5, atol=1e-6)
    served, trained = layer(fields).numpy(), layer(fields, training=True).numpy()
    assert not np.allclose(trained[:, :6], served[:, :6], atol=1e-2)
    # The second block is one layer without normalisation, so dropout is all that training does to it.
    kept = trained[:, 6:] != 0
    assert (served[:, 6:][~kept] > 0).any()
    np.testing.assert_allclose(trained[:, 6:][kept], served[:, 6:][kept] / 0.8, rtol=1e-4)


def test_the_logit_of_both_streams_is_the_mean_of_the_logits_of_each_alone():
    rng = np.random.default_rng(2)
    hidden, head = rng.normal(size=(5, 7)), rng.normal(size=(7, 2))
    one, two = (stream.numpy() for stream in streams_alone(tf.constant(hidden), [3, 4]))
    np.testing.assert_allclose(one, np.concatenate([2 * hidden[:, :3], np.zeros([5, 4])], 1))
    np.testing.assert_allclose((one @ head + two @ head) / 2, hidden @ head)


def make_distilled(distillation=1.0, blocks=PLAIN):
    fields = make_fields()
    layer = make_layer(FinalNetConfig(blocks=blocks, distillation=distillation), fields)
    kernel = tf.Variable(np.random.default_rng(8).normal(scale=0.3, size=(layer(fields).shape[1], 2)), dtype=tf.float32)
    return layer, fields, kernel, lambda hidden: tf.matmul(hidden, kernel) + 0.4


def test_each_block_learns_the_prediction_of_both():
    layer, fields, kernel, logits = make_distilled(0.5)
    hidden, head = layer(fields).numpy(), kernel.numpy()
    teacher = sigmoid(hidden @ head + 0.4)
    one, two = 2 * hidden[:, :6] @ head[:6] + 0.4, 2 * hidden[:, 6:] @ head[6:] + 0.4
    expected = 0.5 * (cross_entropy(teacher, one) + cross_entropy(teacher, two))
    found = layer.auxiliary_losses(layer(fields), logits, tf.zeros([6, 2]))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_teacher_gets_no_gradient():
    # Both blocks alike: each already predicts what both predict, and the loss is at its smallest.
    layer = make_layer(FinalNetConfig(blocks=({"layers": (5,)},) * 2), make_fields())
    hidden = tf.tile(tf.random.stateless_normal([6, 5], [1, 2]), [1, 2])
    kernel = tf.Variable(np.tile(np.random.default_rng(8).normal(size=(5, 2)), [2, 1]), dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.auxiliary_losses(hidden, lambda h: tf.matmul(h, kernel), tf.zeros([6, 2])))
    np.testing.assert_allclose(tape.gradient(loss, kernel), np.zeros([10, 2]), atol=1e-4)


def test_without_a_second_block_or_weight_nothing_is_distilled():
    for distillation, blocks in ((1.0, PLAIN[:1]), (0.0, PLAIN)):
        layer, fields, _, logits = make_distilled(distillation, blocks)
        assert layer.auxiliary_losses(layer(fields), logits, tf.ones([6, 2])) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": [{"layers": [4]}, {"layers": []}]}, r"blocks\[1\].layers is empty"),
        ({"blocks": [{"layers": [4, 7]}], "residual": "concat"}, r"blocks\[0\].layers: \[7\] cannot be halved"),
        ({"blocks": []}, "blocks"),
        ({"blocks": [{}, {}, {}]}, "blocks"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValidationError, match=message):
        FinalNetConfig.model_validate(settings)
