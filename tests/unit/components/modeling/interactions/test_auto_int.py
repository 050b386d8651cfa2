import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.modeling.interactions.auto_int import AutoIntConfig
from tests.unit.components.modeling.interactions.layers import make_fields, make_layer, run_deep, weights_of


def attend(weights, at, example, config):
    """Equations 5 to 8 of the paper for one example ``[F, in]``, one head and one field at a time."""
    out = []
    for m in range(len(example)):
        heads = []
        for h in range(config.heads):
            columns = slice(h * config.head_size, (h + 1) * config.head_size)
            query, key, value = (weights[f"{at}/{name}/kernel"][:, columns] for name in ("query", "key", "value"))
            scores = np.array([(example[m] @ query) @ (other @ key) for other in example])
            if config.scale:
                scores /= np.sqrt(config.head_size)
            shares = np.exp(scores - scores.max())
            shares /= shares.sum()
            heads.append(sum(share * (other @ value) for share, other in zip(shares, example)))
        row = np.concatenate(heads)
        if config.residual:
            row = row + example[m] @ weights[f"{at}/residual/kernel"]
        if config.layer_normalisation:
            gamma, beta = (weights[f"{at}/layer_normalization/{name}"] for name in ("gamma", "beta"))
            row = (row - row.mean()) / np.sqrt(row.var() + 1e-3) * gamma + beta
        out.append(np.maximum(row, 0))
    return np.array(out)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"heads": 1},
        {"residual": False},
        {"scale": True},
        {"layer_normalisation": True},
        {"attention_layers": 1, "deep": {"layers": (7, 5)}},
    ],
)
def test_auto_int_is_the_formula_of_the_paper(values):
    fields = make_fields(rows=4, fields=5, size=3)
    config = AutoIntConfig(**{"attention_layers": 2, "heads": 3, "head_size": 2, **values})
    layer = make_layer(config, fields)
    weights = {path.replace("normalization_1", "normalization"): value for path, value in weights_of(layer).items()}
    expected = []
    for example in fields.astype(np.float64):
        for place in range(config.attention_layers):
            example = attend(weights, f"attention_{place}", example, config)
        expected.append(example.ravel())
    expected = np.array(expected)
    if config.deep.layers:
        expected = np.concatenate([expected, run_deep(layer, fields.reshape(4, 15))], 1)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(layer(fields), expected, rtol=1e-4, atol=1e-4)


def test_auto_int_by_hand():
    fields = tf.constant([[[0.0], [1.0]]])
    layer = make_layer(AutoIntConfig(attention_layers=1, heads=1, head_size=1), fields)
    by_path = {weight.name.split("/")[2]: weight for weight in layer.trainable_weights}
    for name, value in {"query": 1.0, "key": np.log(3.0), "value": 8.0, "residual": -3.0}.items():
        by_path[name].assign([[value]])
    # The first field scores all alike: 8 / 2. The second gives itself 3 parts of 4: 6, less 3 by its own projection.
    np.testing.assert_allclose(layer(fields), [[4.0, 3.0]], rtol=1e-6)


def test_fields_are_a_set_to_attention():
    fields = make_fields(fields=5)
    layer = make_layer(AutoIntConfig(attention_layers=2, head_size=4), fields)
    order = [3, 0, 4, 2, 1]
    expected = layer(fields).numpy().reshape(6, 5, 8)[:, order]
    np.testing.assert_allclose(layer(fields[:, order]).numpy().reshape(6, 5, 8), expected, rtol=1e-4, atol=1e-5)


def test_without_residual_equal_keys_give_the_mean_of_values():
    fields = make_fields(fields=5)
    layer = make_layer(AutoIntConfig(attention_layers=1, heads=1, head_size=4, residual=False), fields)
    by_path = {weight.name.split("/")[2]: weight for weight in layer.trainable_weights}
    by_path["key"].assign(np.zeros((3, 4)))
    mean = np.maximum((fields @ by_path["value"].numpy()).mean(1), 0)
    np.testing.assert_allclose(
        layer(fields).numpy().reshape(6, 5, 4), np.repeat(mean[:, None], 5, 1), rtol=1e-4, atol=1e-6
    )


def test_attention_is_dropped_in_training_only():
    fields = make_fields()
    layer = make_layer(AutoIntConfig(attention_layers=1, dropout=0.5), fields)
    without = make_layer(AutoIntConfig(attention_layers=1), fields)
    np.testing.assert_array_equal(layer(fields), without(fields))
    assert not np.allclose(layer(fields, training=True), layer(fields))
