import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from crossrec.components.errors import DataError
from crossrec.components.modeling.interactions.tf4ctr import TF4CTRConfig, twin_focus_losses
from tests.unit.components.modeling.interactions.layers import (
    make_fields,
    make_layer,
    weights_of,
    weights_without_gradient,
)
from tests.unit.components.modeling.interactions.stacks import cross_entropy, randomise_statistics, run_stack, sigmoid

NORMALISED = {
    "simple": {"layers": (5,), "batch_normalisation": True, "dropout": 0.2},
    "complex": {"layers": (7, 6), "batch_normalisation": True, "dropout": 0.2},
}
PLAIN = {"simple": {"layers": (5,)}, "complex": {"layers": (7, 6)}}


def selected(layer, fields, selection, columns):
    flat = fields.reshape(len(fields), -1)
    if selection == "separate":
        return fields[:, :, :columns].reshape(len(fields), -1), fields[:, :, columns:].reshape(len(fields), -1)
    if selection == "shared":
        return flat, flat
    weights = weights_of(layer)
    hidden = run_stack(layer, "gate_hidden", flat)
    gate = sigmoid(hidden @ weights["gate/kernel"] + weights["gate/bias"])
    return flat * gate, flat * (1 - gate)


@pytest.mark.parametrize(
    ("selection", "simple_dimension", "columns"),
    [("separate", None, 2), ("separate", 4, 4), ("gate", None, 0), ("shared", None, 0)],
)
def test_both_encoders_see_what_the_selection_gives_them(selection, simple_dimension, columns):
    fields = make_fields(size=6)
    config = TF4CTRConfig.model_validate({**NORMALISED, "selection": selection, "simple_dimension": simple_dimension})
    layer = make_layer(config, fields)
    randomise_statistics(layer)
    seen = selected(layer, fields, selection, columns)
    expected = np.concatenate([run_stack(layer, name, x) for name, x in zip(("simple", "complex"), seen)], 1)
    assert expected.shape == (6, 11)
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-4, atol=1e-4)


def test_separate_columns_are_two_tables():
    fields = make_fields(rows=8, size=6)
    layer = make_layer(TF4CTRConfig.model_validate({**PLAIN, "simple_dimension": 2}), fields)
    found = layer(fields).numpy()
    for columns, changed, same in ((slice(0, 2), slice(0, 5), slice(5, 11)), (slice(2, 6), slice(5, 11), slice(0, 5))):
        moved = fields.copy()
        moved[:, :, columns] += 1
        np.testing.assert_array_equal(layer(moved)[:, same], found[:, same])
        assert not np.allclose(layer(moved)[:, changed], found[:, changed], atol=0.1)


def test_a_gate_with_zero_weights_halves_the_fields_for_both():
    fields = make_fields()
    gate, shared = (
        make_layer(TF4CTRConfig.model_validate({**PLAIN, "selection": name}), fields) for name in ("gate", "shared")
    )
    shared.set_weights([weight.numpy() for weight in gate.weights if "gate" not in weight.name])
    for weight in gate.trainable_weights:
        if "gate" in weight.name:
            weight.assign(tf.zeros_like(weight))
    np.testing.assert_allclose(gate(fields), shared(fields / 2), rtol=1e-5, atol=1e-6)


def test_the_twin_focus_loss_is_the_formula_of_the_paper():
    rng = np.random.default_rng(3)
    simple, complex_ = rng.normal(size=(2, 9, 2))
    labels = rng.integers(0, 2, (9, 2)).astype(float)
    config = TF4CTRConfig(simple_weight=0.3, focus=0.8, exponent=1.5)
    true_simple = np.where(labels == 1, sigmoid(simple), 1 - sigmoid(simple))
    true_complex = np.where(labels == 1, sigmoid(complex_), 1 - sigmoid(complex_))
    expected = 0.3 * (0.8 + true_simple) ** 1.5 * -np.log(true_simple)
    expected += 0.7 * (2 - 0.8 - true_complex) ** 1.5 * -np.log(true_complex)
    arguments = [tf.constant(values, tf.float32) for values in (simple, complex_, labels)]
    np.testing.assert_allclose(twin_focus_losses(*arguments, config), expected, rtol=1e-4)


def test_the_twin_focus_loss_by_hand():
    zero = tf.zeros([1, 1])
    # Both give the truth 1/2: a quarter of (0.9 + 0.5)^2 and three quarters of (1.1 - 0.5)^2 times ln 2.
    found = twin_focus_losses(zero, zero, tf.ones([1, 1]), TF4CTRConfig())
    np.testing.assert_allclose(found, [[(0.25 * 1.96 + 0.75 * 0.36) * np.log(2)]], rtol=1e-6)


def test_the_simple_encoder_cares_for_easy_examples_and_the_complex_one_for_hard_ones():
    easy, hard = tf.constant([[3.0]]), tf.constant([[-3.0]])
    one = tf.ones([1, 1])
    plain = cross_entropy(1.0, 3.0), cross_entropy(1.0, -3.0)
    for share, prefers in ((1.0, "easy"), (0.0, "hard")):
        config = TF4CTRConfig(simple_weight=share)
        factors = [
            float(twin_focus_losses(logit, logit, one, config)) / float(loss)
            for logit, loss in zip((easy, hard), plain)
        ]
        assert (factors[0] > factors[1]) == (prefers == "easy")


def test_labels_and_logits_of_the_other_sign_give_the_same_loss():
    logits = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 1)), tf.float32)
    labels = tf.constant([[1.0], [0.0], [1.0], [1.0], [0.0]])
    config = TF4CTRConfig()
    found = twin_focus_losses(logits[0], logits[1], labels, config)
    np.testing.assert_allclose(twin_focus_losses(-logits[0], -logits[1], 1 - labels, config), found, rtol=1e-5)


def test_extreme_logits_have_finite_losses_and_gradients():
    logits = tf.Variable([[200.0], [-200.0]])
    for exponent in (0.0, 0.5, 2.0):
        with tf.GradientTape() as tape:
            config = TF4CTRConfig(focus=1.0, exponent=exponent)
            loss = tf.reduce_sum(twin_focus_losses(logits, logits, tf.ones([2, 1]), config))
        assert np.isfinite(loss) and np.isfinite(tape.gradient(loss, logits)).all()


def test_each_encoder_alone_is_judged_by_the_models_own_head():
    fields = make_fields(size=6)
    layer = make_layer(TF4CTRConfig.model_validate({**PLAIN, "twin_focus": 0.5}), fields)
    hidden = layer(fields).numpy()
    head = np.random.default_rng(1).normal(scale=0.3, size=(11, 2)).astype(np.float32)
    labels = np.array([[1, 0]] * 3 + [[0, 0]] * 3, np.float32)
    found = layer.auxiliary_losses(tf.constant(hidden), lambda h: tf.matmul(h, head) + 0.2, tf.constant(labels))
    alone = [2 * hidden[:, part] @ head[part] + np.float32(0.2) for part in (slice(0, 5), slice(5, 11))]
    expected = 0.5 * twin_focus_losses(*map(tf.constant, alone), tf.constant(labels), layer.config)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    without = make_layer(TF4CTRConfig.model_validate({**PLAIN, "twin_focus": 0}), fields)
    assert without.auxiliary_losses(tf.constant(hidden), lambda h: h[:, :2], tf.constant(labels)) is None


@pytest.mark.parametrize("selection", ["separate", "gate", "shared"])
def test_the_gradient_reaches_every_weight(selection):
    fields = make_fields(rows=40)
    layer = make_layer(TF4CTRConfig.model_validate({**PLAIN, "selection": selection}), fields)
    assert not weights_without_gradient(layer, fields)


def test_dropout_and_the_batchs_own_averages_are_for_training_only():
    fields = make_fields(rows=30)
    layer = make_layer(TF4CTRConfig.model_validate(NORMALISED), fields)
    np.testing.assert_allclose(layer(fields)[:5], layer(fields[:5]), rtol=1e-5, atol=1e-6)
    assert not np.allclose(layer(fields, training=True), layer(fields), atol=1e-2)


def test_each_encoder_needs_columns_and_layers():
    with pytest.raises(DataError, match=r"simple_dimension: 6 of 6 columns leave none for the complex encoder"):
        make_layer(TF4CTRConfig(simple_dimension=6), make_fields(size=6))
    with pytest.raises(ValidationError, match=r"complex.layers is empty"):
        TF4CTRConfig.model_validate({"complex": {"layers": []}})
