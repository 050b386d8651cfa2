"""Low-rank adapters: nothing changes until they learn, nothing but they learns, and merging keeps what they learnt."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.text.config import TextEncoderConfig
from crossrec.components.text.hugging_face import load
from tests.unit.components.text.pretrained import write_directory

TEXTS = tf.constant(["running shoes", "cafe", "中文 for"])


@pytest.fixture(params=["bert", "distilbert"])
def network(tmp_path, request):
    path = str(write_directory(tmp_path / request.param, request.param))
    return load(path, TextEncoderConfig(path=path, max_tokens=20))


def node_kinds(network):
    spec = tf.TensorSpec([None], tf.string)
    graph = tf.function(network.embed, autograph=False).get_concrete_function(spec).graph
    return sorted(node.op for node in graph.as_graph_def().node)


def learn(network):
    """One step towards one direction of the output."""
    with tf.GradientTape() as tape:
        ids, mask = network.tokenize(TEXTS)
        loss = tf.reduce_sum(network(ids, mask, training=False)[:, 0])
    variables = network.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        variable.assign_sub(0.05 * gradient)
    return loss.numpy()


def test_adapters_begin_as_no_change(network):
    before = network.embed(TEXTS).numpy()
    network.add_adapters(rank=4, seed=1)
    np.testing.assert_array_equal(network.embed(TEXTS).numpy(), before)


def test_only_adapters_learn(network):
    frozen = [(weight, weight.numpy()) for weight in network.weights]
    network.add_adapters(rank=4, seed=1)
    # Two layers, query and value, A of 64 x 4 and B of 4 x 64.
    assert [tuple(weight.shape) for weight in network.trainable_variables] == [(64, 4), (4, 64)] * 4
    assert {weight.ref() for weight in network.non_trainable_weights} == {weight.ref() for weight, _ in frozen}
    first = learn(network)
    assert learn(network) < first
    for weight, values in frozen:
        np.testing.assert_array_equal(weight.numpy(), values)


def test_merged_adapters_are_plain_weights(network):
    plain, count = node_kinds(network), len(network.trainable_variables)
    network.add_adapters(rank=4, seed=1)
    for _ in range(3):
        learn(network)
    learnt = network.embed(TEXTS).numpy()
    assert node_kinds(network) != plain
    network.merge_adapters()
    np.testing.assert_allclose(network.embed(TEXTS).numpy(), learnt, atol=1e-5)
    assert node_kinds(network) == plain and len(network.trainable_variables) == count
    assert not [weight.name for weight in network.weights if "adapted" in weight.name]


def test_the_seed_tells_the_adapters(network):
    downs = []
    for seed in (1, 1, 9):
        network.add_adapters(rank=2, seed=seed)
        downs.append([weight.numpy() for weight in network.trainable_variables[::2]])
        network.merge_adapters()
    for one, again, other in zip(*downs, strict=True):
        np.testing.assert_array_equal(one, again)
        assert np.abs(one - other).max() > 0.01
    # Each has weights of its own.
    assert len({array.tobytes() for array in downs[0]}) == 4
