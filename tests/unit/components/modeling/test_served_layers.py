"""Heads and interests come back from their configuration, and from a SavedModel where only TensorFlow is imported."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.unit.components.modeling.heads import test_heads
from tests.unit.components.modeling.interest import sequences

SERVE = """
import json, sys
import numpy as np, tensorflow as tf
inputs = [tf.constant(part) for part in np.load(sys.argv[1] + "/inputs.npz").values()]
for place in range(int(sys.argv[2])):
    loaded = tf.saved_model.load(f"{sys.argv[1]}/{place}")
    print(json.dumps([loaded.heads(inputs[0]).numpy().tolist()] if hasattr(loaded, "heads")
                     else [loaded.interest(*inputs[1:]).numpy().tolist()]))
"""


def of_three(layer):
    return lambda candidates, history, present: layer((candidates, history, present))


@pytest.fixture(scope="module")
def modules():
    """Layers as modules that can be saved, each with a function of its inputs."""
    out = []
    for values in (test_heads.EVERY[1], test_heads.EVERY[3], test_heads.EVERY[5]):
        layer = test_heads.make_layer(values)
        module = tf.Module()
        module.layer = layer
        module.heads = tf.function(layer, input_signature=[tf.TensorSpec([None, 7])], autograph=False)
        out.append(module)
    for values in (sequences.DIN_DEEP, sequences.TARGET, sequences.LSTM, sequences.AVERAGE):
        layer = sequences.make_layer(values)
        module = tf.Module()
        module.layer = layer
        module.interest = tf.function(
            of_three(layer),
            input_signature=[
                tf.TensorSpec([None, None, 4]),
                tf.TensorSpec([None, 5, 4]),
                tf.TensorSpec([None, 5], tf.bool),
            ],
            autograph=False,
        )
        out.append(module)
    return out


def test_a_fresh_process_serves_what_was_saved(modules, tmp_path):
    inputs = [test_heads.make_hidden(), *sequences.make_inputs()]
    np.savez(tmp_path / "inputs.npz", *inputs)
    expected = []
    for place, module in enumerate(modules):
        tf.saved_model.save(module, str(tmp_path / str(place)))
        arguments = [tf.constant(part) for part in inputs]
        expected.append(module.heads(arguments[0]) if hasattr(module, "heads") else module.interest(*arguments[1:]))
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(tmp_path), str(len(modules))], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == len(modules)
    for found, wanted in zip(lines, expected):
        np.testing.assert_allclose(found[0], wanted, rtol=1e-5, atol=1e-6)


def test_the_graphs_hold_nothing_of_a_gpu(modules):
    for module in modules:
        function = module.heads if hasattr(module, "heads") else module.interest
        graph = function.get_concrete_function().graph.as_graph_def()
        names = {node.op for function in graph.library.function for node in function.node_def}
        assert not [name for name in names | {node.op for node in graph.node} if "Cudnn" in name]


@pytest.mark.parametrize("place", range(len(test_heads.EVERY) + len(sequences.EVERY)))
def test_a_layer_comes_back_from_its_configuration_and_weights(place):
    values = [*test_heads.EVERY, *sequences.EVERY][place]
    if place < len(test_heads.EVERY):
        layer, inputs = test_heads.make_layer(values), tf.constant(test_heads.make_hidden())
    else:
        layer, inputs = sequences.make_layer(values), tuple(tf.constant(part) for part in sequences.make_inputs())
    other = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    other(inputs)
    assert other.config == layer.config and [w.shape for w in other.weights] == [w.shape for w in layer.weights]
    other.set_weights(layer.get_weights())
    np.testing.assert_array_equal(other(inputs), layer(inputs))
