import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from crossrec.components.errors import DataError
from crossrec.components.modeling.interactions.final_mlp import BilinearFusion, FinalMLPConfig
from tests.unit.components.modeling.interactions.layers import (
    make_fields,
    make_layer,
    weights_of,
    weights_without_gradient,
)
from tests.unit.components.modeling.interactions.stacks import randomise_statistics, run_stack, sigmoid


def small(**changes):
    settings = {
        "first": {"layers": (7, 6), "batch_normalisation": True, "dropout": 0.3},
        "second": {"layers": (4,), "batch_normalisation": True, "dropout": 0.3},
        "heads": 2,
        "gate_layers": (5,),
        "first_context": (1,),
        "second_context": (0, 3),
    }
    return FinalMLPConfig.model_validate({**settings, **changes})


def plain_streams(**changes):
    """Without normalisation, behind which a bias can have no gradient, and without dropout."""
    return small(first={"layers": (7, 6)}, second={"layers": (4,)}, **changes)


def gated(layer, fields, place, context):
    weights = weights_of(layer)
    looked_at = fields[:, list(context)].reshape(len(fields), -1) if context else weights[f"gate_{place}/context"]
    hidden = run_stack(layer, f"gate_{place}/hidden", looked_at)
    gate = sigmoid(hidden @ weights[f"gate_{place}/gate/kernel"] + weights[f"gate_{place}/gate/bias"])
    return fields.reshape(len(fields), -1) * 2 * gate


def streams(layer, fields, contexts):
    flat = fields.reshape(len(fields), -1)
    seen = [gated(layer, fields, place, context) for place, context in enumerate(contexts)] or [flat, flat]
    return [run_stack(layer, name, inputs) for name, inputs in zip(("first", "second"), seen)]


@pytest.mark.parametrize("contexts", [((1,), (0, 3)), ((), ()), ((2,), ())])
@pytest.mark.parametrize("heads", [1, 2])
def test_a_head_on_top_is_the_fusion_of_the_paper(contexts, heads):
    fields = make_fields()
    layer = make_layer(small(first_context=contexts[0], second_context=contexts[1], heads=heads), fields)
    randomise_statistics(layer)
    first, second = streams(layer, fields, contexts)
    kernel = weights_of(layer)["fusion/kernel"]
    assert kernel.shape == (heads, 6 // heads, 4 // heads)
    rng = np.random.default_rng(9)
    w_1, w_2, bias = rng.normal(size=6), rng.normal(size=4), 0.7
    fused = bias + first @ w_1 + second @ w_2
    for head in range(heads):
        parts = first[:, head * 6 // heads :][:, : 6 // heads], second[:, head * 4 // heads :][:, : 4 // heads]
        fused += np.array([a @ kernel[head] @ b for a, b in zip(*parts)])
    out = layer(fields).numpy()
    assert out.shape == (6, 14)
    np.testing.assert_allclose(out @ np.concatenate([w_1, w_2, np.ones(4)]) + bias, fused, rtol=1e-4, atol=1e-4)


def test_without_feature_selection_both_streams_see_the_fields():
    fields = make_fields()
    layer = make_layer(small(feature_selection=False), fields)
    randomise_statistics(layer)
    assert not any("gate" in path for path in weights_of(layer))
    expected = np.concatenate(streams(layer, fields, ()), 1)
    np.testing.assert_allclose(layer(fields)[:, :10], expected, rtol=1e-4, atol=1e-4)


def test_the_fusion_by_hand():
    layer = BilinearFusion(2)
    streams = tf.constant([[1.0, 2.0, -1.0, 3.0]]), tf.constant([[5.0, 7.0]])
    layer(streams)
    layer.set_weights([np.array([[[2.0], [1.0]], [[4.0], [1.0]]])])
    # (1 * 2 + 2 * 1) * 5 and (-1 * 4 + 3 * 1) * 7.
    assert layer(streams).numpy().tolist() == [[20.0, -7.0]]


def test_gates_with_zero_weights_let_everything_through_as_it_is():
    fields = make_fields()
    layer, without = (make_layer(small(feature_selection=select), fields) for select in (True, False))
    without.set_weights([value for path, value in zip_paths(layer) if "gate" not in path])
    for weight in layer.trainable_weights:
        if "/gate/" in weight.name:
            weight.assign(tf.zeros_like(weight))
    np.testing.assert_allclose(layer(fields), without(fields), rtol=1e-5, atol=1e-6)


def zip_paths(layer):
    return [(weight.name, weight.numpy()) for weight in layer.weights]


def test_a_gate_looks_only_at_its_own_context():
    fields = make_fields()
    layer = make_layer(plain_streams(first_context=(1,), second_context=(2,)), fields)
    first, second = (layer._gates[place] for place in (0, 1))
    changed = fields.copy()
    changed[:, 1] += 1
    ratio = first(changed).numpy().reshape(fields.shape)[:, [0, 2, 3]] / fields[:, [0, 2, 3]]
    assert not np.allclose(ratio, first(fields).numpy().reshape(fields.shape)[:, [0, 2, 3]] / fields[:, [0, 2, 3]])
    same = second(changed).numpy().reshape(fields.shape)[:, [0, 2, 3]]
    np.testing.assert_allclose(same, second(fields).numpy().reshape(fields.shape)[:, [0, 2, 3]], rtol=1e-5)


def test_a_learned_context_is_the_same_for_every_example_and_not_dead_at_the_start():
    fields = make_fields(rows=40)
    layer = make_layer(plain_streams(first_context=(), second_context=()), fields)
    gate = layer._gates[0](fields).numpy() / fields.reshape(40, 12)
    np.testing.assert_allclose(gate, np.tile(gate[:1], [40, 1]), rtol=1e-3)
    fresh = type(layer)(layer.config)
    fresh(fields)
    assert not [name for name in weights_without_gradient(fresh, fields) if "gate" in name]


@pytest.mark.parametrize("contexts", [((1,), (0, 3)), ((), ())])
def test_the_gradient_reaches_every_weight(contexts):
    fields = make_fields(rows=40)
    layer = make_layer(plain_streams(first_context=contexts[0], second_context=contexts[1]), fields)
    assert not weights_without_gradient(layer, fields)


def test_dropout_and_the_batchs_own_averages_are_for_training_only():
    fields = make_fields(rows=30)
    layer = make_layer(small(), fields)
    np.testing.assert_allclose(layer(fields)[:5], layer(fields[:5]), rtol=1e-5, atol=1e-6)
    assert not np.allclose(layer(fields, training=True), layer(fields), atol=1e-2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, r"heads is 3, which does not divide second.layers\[-1\] = 4"),
        ({"heads": 4}, r"heads is 4, which does not divide first.layers\[-1\] = 6"),
        ({"first": {"layers": ()}}, r"first.layers is empty"),
        ({"first_context": (-1,)}, "first_context"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ValidationError, match=message):
        small(**changes)


def test_a_context_beyond_the_fields_is_named():
    with pytest.raises(
        DataError, match=r"second_context: the model has 4 fields, and none at \[4, 9\]. Places go from 0 to 3"
    ):
        make_layer(small(second_context=(4, 0, 9)), make_fields())
