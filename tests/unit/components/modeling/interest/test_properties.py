"""What holds of every interest: padding, order, candidates, gradients, precision."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from pydantic import ValidationError

from tests.unit.components.modeling.interest.sequences import (
    AVERAGE,
    CONFIG,
    DIN,
    DIN_DEEP,
    DIN_SOFTMAX,
    EVERY,
    LAST,
    LSTM,
    TARGET,
    make_inputs,
    make_layer,
    name_of,
    run,
)

of_every = pytest.mark.parametrize("values", EVERY, ids=name_of)


@of_every
def test_a_history_of_padding_only_is_zeros(values):
    candidates, history, present = make_inputs()
    found = run(make_layer(values), (candidates, history, np.zeros_like(present)))
    np.testing.assert_array_equal(found, np.zeros_like(candidates))


@of_every
@pytest.mark.parametrize("seed", range(5))
def test_what_stands_in_padding_changes_nothing(values, seed):
    layer, (candidates, history, present) = make_layer(values), make_inputs(seed=seed)
    other = np.where(present[..., None], history, 100 * np.random.default_rng(seed).normal(size=history.shape))
    np.testing.assert_array_equal(
        run(layer, (candidates, history, present)), run(layer, (candidates, other.astype(np.float32), present))
    )


@of_every
@pytest.mark.parametrize("seed", range(5))
def test_where_padding_stands_changes_nothing(values, seed):
    layer, (candidates, history, present) = make_layer(values), make_inputs(seed=seed)
    to_the_front = np.argsort(~present, axis=1, kind="stable")
    together = np.take_along_axis(history, to_the_front[..., None], 1), np.take_along_axis(present, to_the_front, 1)
    assert (together[1] != present).any()
    np.testing.assert_allclose(
        run(layer, (candidates, *together)), run(layer, (candidates, history, present)), rtol=1e-4, atol=1e-5
    )


def in_two_orders(values):
    layer, (candidates, history, present) = make_layer(values), make_inputs(batch=3)
    present[:] = True
    present[:, 4] = False
    shuffled = history[:, [2, 0, 3, 1, 4]]
    return run(layer, (candidates, history, present)), run(layer, (candidates, shuffled, present))


@pytest.mark.parametrize("values", [DIN, DIN_SOFTMAX, DIN_DEEP, AVERAGE], ids=name_of)
def test_order_is_nothing_to_sums(values):
    one, other = in_two_orders(values)
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", [TARGET, LAST, LSTM], ids=name_of)
def test_order_matters_to_a_transformer_and_to_an_lstm(values):
    one, other = in_two_orders(values)
    assert (np.abs(one - other).max((1, 2)) > 1e-2).all()


@of_every
def test_a_candidate_has_its_interest_alone_and_among_others(values):
    layer, inputs = make_layer(values), make_inputs(batch=3, candidates=7)
    whole = run(layer, inputs)
    for b in range(3):
        for c in (0, 6):
            one = run(layer, (inputs[0][b : b + 1, c : c + 1], inputs[1][b : b + 1], inputs[2][b : b + 1]))
            np.testing.assert_allclose(one[0, 0], whole[b, c], rtol=1e-4, atol=1e-5)


@of_every
def test_attention_sees_the_candidate_and_the_others_do_not(values):
    spread = np.ptp(run(make_layer(values), make_inputs(batch=2, candidates=7))[0], axis=0).max()
    assert spread > 1e-2 if values in (DIN, DIN_SOFTMAX, DIN_DEEP, TARGET) else spread == 0


@of_every
def test_nothing_to_rank_and_nobody_to_rank_for(values):
    layer, inputs = make_layer(values), make_inputs()
    assert run(layer, (inputs[0][:, :0], *inputs[1:])).shape == (4, 0, 4)
    assert run(layer, tuple(part[:0] for part in inputs)).shape == (0, 3, 4)


@of_every
def test_gradients_reach_every_weight_and_the_history(values):
    layer, (candidates, history, present) = make_layer(values), make_inputs(batch=30)
    present[0] = True
    history = tf.constant(history)
    with tf.GradientTape() as tape:
        tape.watch(history)
        out = layer((tf.constant(candidates), history, tf.constant(present)))
        loss = tf.reduce_sum(out * tf.constant(np.random.default_rng(2).normal(size=out.shape), tf.float32))
    sources = [history, *layer.trainable_weights]
    found = [tf.convert_to_tensor(gradient).numpy() for gradient in tape.gradient(loss, sources)]
    for source, gradient in zip(layer.trainable_weights, found[1:]):
        assert np.isfinite(gradient).all() and np.any(gradient), source.name
    assert not found[0][~present].any()
    # Only the most recent item's encoding is read of ``last``, to which all others contribute.
    assert np.abs(found[0][present]).max(-1).min() > 0


def test_no_softmax_lets_a_longer_history_count_more():
    candidates, history, present = make_inputs(batch=1)
    history[:] = history[:, :1]
    for values, ratio in ((DIN, 5.0), (DIN_SOFTMAX, 1.0), (AVERAGE, 1.0)):
        layer = make_layer(values)
        once = run(layer, (candidates, history, np.array([[True] + [False] * 4])))
        np.testing.assert_allclose(run(layer, (candidates, history, np.ones_like(present))), ratio * once, rtol=1e-3)


def test_dropout_is_for_training():
    layer, inputs = make_layer({**TARGET, "dropout": 0.5}), make_inputs()
    np.testing.assert_array_equal(run(layer, inputs, training=False), run(make_layer(TARGET), inputs))
    assert not np.allclose(run(layer, inputs, training=True), run(layer, inputs, training=False), atol=1e-2)


@of_every
def test_mixed_precision_gives_what_float32_gives(values):
    inputs = make_inputs()
    expected = run(make_layer(values), inputs)
    tf_keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        layer = make_layer(values)
        found = layer(tuple(tf.cast(part, tf.float16) for part in inputs[:2]) + (tf.constant(inputs[2]),))
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    assert found.dtype == tf.float16
    np.testing.assert_allclose(found, expected, rtol=0.03, atol=0.03)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"type": "gru"}, "'din', 'transformer', 'lstm', 'average'"),
        ({"type": "din", "features": []}, "at least 1 item"),
        ({"type": "din", "hidden_layers": []}, "at least 1 item"),
        ({"type": "transformer", "readout": "first"}, "'target' or 'last'"),
        ({"type": "average", "units": 3}, "Extra inputs"),
    ],
)
def test_what_cannot_be_is_refused(values, complaint):
    with pytest.raises(ValidationError, match=complaint):
        CONFIG.validate_python({"sequence": "recent_items", **values})
    with pytest.raises(ValidationError, match="sequence"):
        CONFIG.validate_python({"type": "average"})
