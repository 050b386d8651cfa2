"""Dense stacks in numpy, as they are at inference, batch normalisation included."""

import numpy as np


def all_weights(layer):
    """Every weight, trained or not, by its path below the layer."""
    return {weight.name.partition("/")[2].partition(":")[0]: weight.numpy() for weight in layer.weights}


def randomise_statistics(layer, seed=3):
    """Gives batch normalisation moving averages that are not its first ones."""
    rng = np.random.default_rng(seed)
    for weight in layer.non_trainable_weights:
        spread = "variance" in weight.name
        weight.assign(rng.uniform(0.5, 2, weight.shape) if spread else rng.normal(size=weight.shape))


def below(layer, path, name):
    """Weights of one kind below a path, in the order of their layers."""
    weights = all_weights(layer).items()
    return [value for key, value in weights if key.startswith(path + "/") and key.endswith("/" + name)]


def normalise(layer, path, place, values):
    """Batch normalisation of one layer of a stack, or none if the stack has none."""
    gammas = below(layer, path, "gamma")
    if not gammas:
        return values
    mean, variance = below(layer, path, "moving_mean")[place], below(layer, path, "moving_variance")[place]
    return (values - mean) / np.sqrt(variance + 1e-3) * gammas[place] + below(layer, path, "beta")[place]


def run_stack(layer, path, inputs):
    """Dense, normalisation, ReLU of all layers below a path: ``[N, in]`` to ``[N, out]``."""
    for place, (kernel, bias) in enumerate(zip(below(layer, path, "kernel"), below(layer, path, "bias"))):
        inputs = np.maximum(normalise(layer, path, place, inputs @ kernel + bias), 0)
    return inputs


def sigmoid(values):
    return 1 / (1 + np.exp(-np.asarray(values, np.float64)))


def cross_entropy(labels, logits):
    probability = sigmoid(logits)
    return -labels * np.log(probability) - (1 - labels) * np.log(1 - probability)
