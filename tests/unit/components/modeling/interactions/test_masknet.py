import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.modeling.interactions.masknet import FieldNormalisation, MaskNetConfig
from tests.unit.components.modeling.interactions.layers import (
    make_fields,
    make_layer,
    run_deep,
    weights_of,
    weights_without_gradient,
)
from tests.unit.components.small_models import randomise

NO_DEEP = {"layers": ()}


def layer_norm(values):
    mean, variance = values.mean(-1, keepdims=True), values.var(-1, keepdims=True)
    return (values - mean) / np.sqrt(variance + 1e-5)


def block(weights, place, guide, hidden):
    """LN(W (mask * hidden)), the mask two dense layers over the fields' own numbers."""
    part = {path.partition("/")[2]: value for path, value in weights.items() if path.startswith(f"block_{place}/")}
    aggregated = np.maximum(guide @ part["aggregate/kernel"] + part["aggregate/bias"], 0)
    mask = aggregated @ part["project/kernel"] + part["project/bias"]
    out = (mask * hidden) @ part["hidden/kernel"]
    if "normalise/gamma" in part:
        out = layer_norm(out) * part["normalise/gamma"] + part["normalise/beta"]
    return np.maximum(out, 0)


@pytest.mark.parametrize("structure", ["serial", "parallel"])
@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("deep", [(), (5, 4)])
def test_masknet_is_the_formula_of_the_paper(structure, normalised, deep):
    fields = make_fields(fields=4, size=3)
    config = MaskNetConfig(
        structure=structure,
        blocks=(6, 5, 7),
        reduction_ratio=1.5,
        field_normalisation=normalised,
        block_normalisation=normalised,
        deep={"layers": deep},
    )
    layer = make_layer(config, fields)
    weights = weights_of(layer)
    assert weights["block_1/aggregate/kernel"].shape == (12, 9 if structure == "serial" else 18)
    guide = hidden = fields.reshape(6, 12).astype(np.float64)
    if normalised:
        hidden = (layer_norm(fields.astype(np.float64)) * weights["fields/gain"] + weights["fields/bias"]).reshape(
            6, 12
        )
    if structure == "serial":
        for place in range(3):
            hidden = block(weights, place, guide, hidden)
        assert hidden.shape == (6, 7)
    else:
        hidden = np.concatenate([block(weights, place, guide, hidden) for place in range(3)], 1)
        assert hidden.shape == (6, 18)
    np.testing.assert_allclose(layer(fields), run_deep(layer, hidden), rtol=1e-3, atol=1e-3)


def test_masknet_by_hand():
    fields = tf.constant([[[1.0, 3.0]]])
    config = MaskNetConfig(blocks=(2,), reduction_ratio=0.5, block_normalisation=False, deep=NO_DEEP)
    layer = make_layer(config, fields)
    values = {
        "fields/gain": [[2.0, 1.0]],
        "fields/bias": [[0.0, 1.0]],
        "block_0/aggregate/kernel": [[1.0], [1.0]],
        "block_0/aggregate/bias": [-1.0],
        "block_0/project/kernel": [[1.0, -1.0]],
        "block_0/project/bias": [0.0, 0.5],
        "block_0/hidden/kernel": [[-1.0, 1.0], [1.0, 1.0]],
    }
    for weight in layer.trainable_weights:
        weight.assign(values[weight.name.partition("/")[2].partition(":")[0]])
    # Normalised (-1, 1), with gain and bias (-2, 2). Aggregated 1 + 3 - 1 = 3, so the mask is (3, -2.5).
    # Masked (-6, -5): 6 - 5 = 1 and ReLU(-11) = 0.
    np.testing.assert_allclose(layer(fields), [[1.0, 0.0]], rtol=1e-4, atol=1e-5)


def test_normalised_fields_have_mean_zero_and_variance_one_each():
    fields = make_fields(rows=5, size=8) * np.array([1, 10, 2, 5])[None, :, None].astype(np.float32) + 3
    layer = FieldNormalisation()
    found = layer(fields).numpy()
    np.testing.assert_allclose(found.mean(2), 0, atol=1e-5)
    np.testing.assert_allclose(found.var(2), 1, rtol=1e-3)
    np.testing.assert_allclose(layer(fields * 7 - 10), found, atol=1e-3)


def test_gain_and_bias_belong_to_one_field_and_number():
    fields = make_fields()
    layer = FieldNormalisation()
    before = layer(fields).numpy()
    layer.set_weights([np.ones([4, 3]), np.eye(4, 3)])
    np.testing.assert_allclose(layer(fields) - before, np.tile(np.eye(4, 3), [6, 1, 1]), atol=1e-5)


def test_the_mask_sees_the_fields_before_normalisation():
    fields = make_fields()
    layer = make_layer(MaskNetConfig(blocks=(8,), deep=NO_DEEP), fields)
    # Normalised fields do not change, so what changes is the mask.
    assert not np.allclose(layer(fields * 3), layer(fields), atol=1e-2)


@pytest.mark.parametrize("structure", ["serial", "parallel"])
def test_dropout_is_for_training_only(structure):
    fields = make_fields(rows=50)
    layer = make_layer(MaskNetConfig(structure=structure, blocks=(8,), dropout=0.75, deep=NO_DEEP), fields)
    served, trained = layer(fields).numpy(), layer(fields, training=True).numpy()
    kept = trained != 0
    assert served[kept].size and (served[~kept] > 0).any()
    np.testing.assert_allclose(trained[kept], 4 * served[kept], rtol=1e-4)


@pytest.mark.parametrize("structure", ["serial", "parallel"])
def test_the_gradient_reaches_every_weight(structure):
    fields = make_fields(rows=40)
    layer = make_layer(MaskNetConfig(structure=structure), fields)
    randomise(layer)
    assert not weights_without_gradient(layer, fields)
