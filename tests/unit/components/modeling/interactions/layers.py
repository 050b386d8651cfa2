"""What the tests of interaction layers share."""

import numpy as np
import tensorflow as tf

from crossrec.components.modeling import interactions, runtime
from tests.unit.components.small_models import randomise

runtime.prepare()


def make_fields(rows=6, fields=4, size=3, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, fields, size)).astype(np.float32)


def make_layer(config, fields, seed=0):
    """A layer, built for the fields, with random weights."""
    layer = interactions.build(config)
    layer(tf.constant(fields))
    randomise(layer, seed)
    return layer


def weights_of(layer):
    """The trained weights by their path below the layer, as in ``cross_0/up/kernel``."""
    named = {weight.name.partition("/")[2].partition(":")[0]: weight.numpy() for weight in layer.trainable_weights}
    assert len(named) == len(layer.trainable_weights)
    return named


def run_deep(layer, inputs):
    """The deep network of a layer (without normalisation) in numpy, ``[N, in]`` to ``[N, out]``."""
    values = [value for path, value in weights_of(layer).items() if path.startswith("deep/")]
    for kernel, bias in zip(values[::2], values[1::2]):
        inputs = np.maximum(inputs @ kernel + bias, 0)
    return inputs


def weights_without_gradient(layer, fields):
    """Paths of the weights that the loss does not reach."""
    with tf.GradientTape() as tape:
        out = layer(tf.constant(fields))
        factors = np.random.default_rng(2).normal(size=out.shape)
        loss = tf.reduce_sum(out * tf.constant(factors, out.dtype))
    gradients = tape.gradient(loss, layer.trainable_weights)
    return [
        weight.name
        for weight, gradient in zip(layer.trainable_weights, gradients)
        if gradient is None or not np.any(tf.convert_to_tensor(gradient).numpy())
    ]
