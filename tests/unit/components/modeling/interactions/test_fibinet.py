import itertools

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.errors import DataError
from crossrec.components.modeling.interactions.fibinet import BilinearInteraction, FiBiNETConfig, SqueezeExcitation
from tests.unit.components.modeling.interactions.layers import (
    make_fields,
    make_layer,
    run_deep,
    weights_of,
    weights_without_gradient,
)
from tests.unit.components.modeling.interactions.stacks import sigmoid
from tests.unit.components.small_models import randomise

SHARING = ["field_all", "field_each", "field_interaction"]
NO_DEEP = {"layers": ()}


def bilinear(fields, kernel, sharing):
    """(v_i W) * v_j, pair by pair."""
    pairs, out = list(itertools.combinations(range(fields.shape[1]), 2)), []
    for place, (i, j) in enumerate(pairs):
        matrix = kernel[{"field_all": 0, "field_each": i, "field_interaction": place}[sharing]]
        out.append(np.stack([(example[i] @ matrix) * example[j] for example in fields]))
    return np.stack(out, 1)


def importance(fields, weights, activation):
    squeezed = np.maximum(fields.mean(2) @ weights["importance/squeeze/kernel"], 0)
    return activation(squeezed @ weights["importance/excite/kernel"])


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("excitation", ["relu", "sigmoid"])
def test_fibinet_is_the_formula_of_the_paper(sharing, excitation):
    fields = make_fields(fields=5, size=3)
    config = FiBiNETConfig(bilinear=sharing, excitation=excitation, reduction_ratio=2, deep={"layers": (7, 4)})
    layer = make_layer(config, fields)
    weights = weights_of(layer)
    matrices = {"field_all": 1, "field_each": 4, "field_interaction": 10}[sharing]
    assert weights["plain/kernel"].shape == weights["weighted/kernel"].shape == (matrices, 3, 3)
    assert weights["importance/squeeze/kernel"].shape == (5, 2)
    activation = sigmoid if excitation == "sigmoid" else lambda values: np.maximum(values, 0)
    scaled = fields * importance(fields, weights, activation)[:, :, None]
    products = np.concatenate(
        [bilinear(fields, weights["plain/kernel"], sharing), bilinear(scaled, weights["weighted/kernel"], sharing)], 1
    )
    np.testing.assert_allclose(layer(fields), run_deep(layer, products.reshape(6, 60)), rtol=1e-4, atol=1e-4)


def test_fibinet_by_hand():
    fields = tf.constant([[[1.0, 2.0], [3.0, -1.0]]])
    layer = make_layer(FiBiNETConfig(bilinear="field_all", reduction_ratio=2, deep=NO_DEEP), fields)
    values = {
        "importance/squeeze/kernel": [[2.0], [1.0]],
        "importance/excite/kernel": [[1.0, -1.0]],
        "plain/kernel": [[[1.0, 1.0], [0.0, 2.0]]],
        "weighted/kernel": [[[1.0, 0.0], [0.0, 1.0]]],
    }
    for weight in layer.trainable_weights:
        weight.assign(values[weight.name.partition("/")[2].partition(":")[0]])
    # (1, 2) W = (1, 1 + 4); times (3, -1): (3, -5). Means 1.5 and 1, squeezed to 4, importances 4 and ReLU(-4) = 0.
    assert layer(fields).numpy().tolist() == [[3.0, -5.0, 0.0, 0.0]]


@pytest.mark.parametrize("sharing", SHARING)
def test_with_identity_matrices_it_is_the_factorisation_machine(sharing):
    fields = make_fields(fields=4, size=3)
    layer = BilinearInteraction(sharing)
    layer(fields)
    layer.set_weights([np.stack([np.eye(3)] * layer.weights[0].shape[0])])
    total = fields.sum(1)
    expected = ((total**2 - (fields**2).sum(1)) / 2).sum(1)
    np.testing.assert_allclose(layer(fields).numpy().sum((1, 2)), expected, rtol=1e-4, atol=1e-5)


def test_equal_matrices_make_all_ways_of_sharing_equal():
    fields, matrix, outputs = make_fields(), np.random.default_rng(5).normal(size=(3, 3)), []
    for sharing in SHARING:
        layer = BilinearInteraction(sharing)
        layer(fields)
        layer.set_weights([np.stack([matrix] * layer.weights[0].shape[0])])
        outputs.append(layer(fields).numpy())
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs[2], outputs[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sharing", SHARING)
def test_products_are_linear_in_each_field(sharing):
    fields = make_fields(rows=3)
    layer = BilinearInteraction(sharing)
    layer(fields)
    randomise(layer)
    doubled = fields.copy()
    doubled[:, 2] *= 2
    # Pairs (0,1) (0,2) (0,3) (1,2) (1,3) (2,3): those with field 2 double.
    factors = np.array([1, 2, 1, 2, 1, 2])[None, :, None]
    np.testing.assert_allclose(layer(doubled), layer(fields) * factors, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_importances_are_never_negative_and_the_direction_of_a_field_stays(activation):
    fields = make_fields(rows=200)
    layer = SqueezeExcitation(1, activation)
    layer(fields)
    randomise(layer)
    found = layer.importance(tf.constant(fields)).numpy()
    assert found.shape == (200, 4) and (found >= 0).all() and (found.std(0) > 0).any()
    np.testing.assert_allclose(layer(fields), fields * found[:, :, None], rtol=1e-6)
    zero = layer.importance(tf.zeros([1, 4, 3])).numpy()
    assert (zero == (0.5 if activation == "sigmoid" else 0.0)).all()


@pytest.mark.parametrize("sharing", SHARING)
def test_the_gradient_reaches_every_weight(sharing):
    fields = make_fields(rows=40)
    assert not weights_without_gradient(make_layer(FiBiNETConfig(bilinear=sharing), fields), fields)


def test_one_field_has_no_partner():
    with pytest.raises(DataError, match=r"ranking\.features: .*1 field\. Name two features"):
        make_layer(FiBiNETConfig(), make_fields(fields=1))
