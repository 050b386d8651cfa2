"""What every interaction layer of the library holds to, with its defaults and with what some can do besides."""

import functools
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from pydantic import TypeAdapter

from crossrec.components.errors import DataError
from crossrec.components.modeling import interactions
from tests.unit.components.modeling.interactions.layers import make_fields, make_layer, weights_without_gradient

SMALL = {"layers": (6, 5)}
VARIANTS = [
    {"type": "dcn_v2", "deep": {"layers": ()}},
    {"type": "dcn_v2", "structure": "stacked", "deep": SMALL},
    {"type": "dcn_v2", "low_rank": 3},
    {"type": "dcn_v2", "low_rank": 3, "mixture": {"experts": 2, "gate": "sigmoid"}},
    {"type": "xdeepfm", "cin_layers": (4, 6), "split_half": True, "activation": "relu", "deep": {"layers": ()}},
    {"type": "auto_int", "scale": True, "layer_normalisation": True, "deep": SMALL},
    {"type": "mlp", "deep": {"batch_normalisation": True}},
]
READ = TypeAdapter(interactions.InteractionConfig)
CONFIGS = [layer.CONFIG() for layer in interactions.LAYERS] + [READ.validate_python(values) for values in VARIANTS]
IDS = [
    config.type + "-".join(["", *sorted(config.model_fields_set - {"type"})]) + f"-{place}"
    for place, config in enumerate(CONFIGS)
]
FIELDS = make_fields(rows=7, fields=5, size=4)
every_config = pytest.mark.parametrize("config", CONFIGS, ids=IDS)

RELOAD = """
import sys
import numpy as np
import tensorflow as tf

directory, count = sys.argv[1], int(sys.argv[2])
loaded, fields = tf.saved_model.load(directory), np.load(directory + "/fields.npy")
np.savez(directory + "/found.npz", *[loaded.signatures[f"run_{n}"](fields=fields)["out"] for n in range(count)])
assert not any(name.startswith("crossrec") for name in sys.modules)
"""


@functools.cache
def layer_at(place):
    return make_layer(CONFIGS[place], FIELDS)


@pytest.fixture
def layer(config):
    return layer_at(next(place for place, other in enumerate(CONFIGS) if other is config))


def test_types_are_unique_and_all_can_be_named_in_a_spec():
    types = [layer.CONFIG().type for layer in interactions.LAYERS]
    assert len(set(types)) == len(types)
    for layer, name in zip(interactions.LAYERS, types):
        assert READ.validate_python({"type": name}) == layer.CONFIG()
        assert type(interactions.build(layer.CONFIG())) is layer


@every_config
def test_a_configuration_goes_through_json(config):
    assert READ.validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="frozen"):
        config.type = "other"


@every_config
def test_a_layer_from_its_configuration_gives_the_same_numbers(config, layer):
    again = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert again.config == config and again.name == layer.name
    assert not np.allclose(again(FIELDS), layer(FIELDS)) or not layer.weights
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(FIELDS), layer(FIELDS))


@every_config
def test_a_checkpoint_holds_all_that_a_layer_needs(config, layer, tmp_path):
    path = tf.train.Checkpoint(layer=layer).write(str(tmp_path / "weights"))
    again = make_layer(config, FIELDS, seed=5)
    tf.train.Checkpoint(layer=again).read(path).assert_consumed()
    np.testing.assert_array_equal(again(FIELDS), layer(FIELDS))


def test_saved_models_give_the_same_numbers_in_another_process(tmp_path):
    layers = [layer_at(place) for place in range(len(CONFIGS))]
    module = tf.Module()
    # The weights alone: Keras would trace each layer inside each layer once more.
    module.held = [layer.weights for layer in layers]
    specification = tf.TensorSpec([None, *FIELDS.shape[1:]], tf.float32, name="fields")
    signatures = {}
    for place, layer in enumerate(layers):
        run = tf.function(lambda fields, layer=layer: {"out": layer(fields)}, autograph=False)
        signatures[f"run_{place}"] = run.get_concrete_function(specification)
    tf.saved_model.save(module, str(tmp_path), signatures=signatures)
    np.save(tmp_path / "fields.npy", FIELDS)
    command = [sys.executable, "-c", RELOAD, str(tmp_path), str(len(layers))]
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=900)
    assert process.returncode == 0, process.stderr
    found = np.load(tmp_path / "found.npz")
    for place, layer in enumerate(layers):
        np.testing.assert_allclose(found[f"arr_{place}"], layer(FIELDS), rtol=1e-5, atol=1e-5, err_msg=IDS[place])


@every_config
def test_an_example_does_not_see_the_others_of_its_batch(config, layer):
    whole = layer(FIELDS).numpy()
    single = np.concatenate([layer(FIELDS[row : row + 1]) for row in range(len(FIELDS))])
    np.testing.assert_allclose(single, whole, rtol=1e-4, atol=1e-4)
    assert np.ptp(whole, axis=0).max() > 1e-3


@every_config
def test_one_graph_serves_batches_of_every_size(config, layer):
    run = tf.function(layer, input_signature=[tf.TensorSpec([None, *FIELDS.shape[1:]], tf.float32)], autograph=False)
    graph = run.get_concrete_function()
    units = graph.output_shapes[-1]
    assert units is not None
    assert graph(tf.constant(FIELDS[:0])).shape == (0, units)
    for rows in (1, 3, 7):
        np.testing.assert_allclose(graph(tf.constant(FIELDS[:rows])), layer(FIELDS[:rows]), rtol=1e-4, atol=1e-4)
    assert run.experimental_get_tracing_count() == 1


@every_config
def test_the_loss_reaches_every_weight(config, layer):
    assert weights_without_gradient(layer, FIELDS) == []


@pytest.mark.parametrize(
    "config", [config for config in CONFIGS if getattr(getattr(config, "deep", None), "layers", ())]
)
def test_nothing_is_dropped_outside_training(config):
    deep = {"layers": (6, 5), "dropout": 0.9}
    layer = make_layer(type(config).model_validate({**config.model_dump(), "deep": deep}), FIELDS)
    without = make_layer(type(config).model_validate({**config.model_dump(), "deep": {**deep, "dropout": 0.0}}), FIELDS)
    np.testing.assert_array_equal(layer(FIELDS, training=False), without(FIELDS, training=True))
    np.testing.assert_array_equal(layer(FIELDS), without(FIELDS))
    assert not np.allclose(layer(FIELDS, training=True), layer(FIELDS))


@every_config
def test_mixed_precision_computes_in_float16_and_comes_out_near(config):
    exact = interactions.build(config)
    expected = exact(FIELDS).numpy()
    tf_keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        layer = interactions.build(config)
        layer(FIELDS)
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    assert all(weight.dtype == tf.float32 for weight in layer.weights)
    layer.set_weights(exact.get_weights())
    with tf.GradientTape() as tape:
        out = layer(FIELDS)
        loss = tf.reduce_mean(tf.cast(out, tf.float32))
    assert out.dtype == tf.float16
    np.testing.assert_allclose(out.numpy(), expected, atol=0.01 * np.abs(expected).max())
    assert all(np.isfinite(tf.convert_to_tensor(g).numpy()).all() for g in tape.gradient(loss, layer.trainable_weights))


@every_config
def test_a_single_field_is_enough_but_for_pairs(config):
    fields = FIELDS[:, :1]
    if config.type in ("fm", "fwfm", "fmfm", "fibinet"):
        with pytest.raises(DataError, match=f"{config.type} crosses pairs and got 1 field. Name two features or more"):
            make_layer(config, fields)
        return
    layer = make_layer(config, fields)
    assert np.ptp(layer(fields).numpy(), axis=0).max() > 1e-3
