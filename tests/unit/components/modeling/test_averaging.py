"""Averages of weights by an independent formula, on a model of one layer."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from crossrec.components.modeling import runtime
from crossrec.components.modeling.averaging import AveragingConfig, WeightAverages

runtime.prepare()
STEPS = 7


def make_model():
    layers = [tf_keras.layers.Dense(2), tf_keras.layers.BatchNormalization()]
    model = tf_keras.Sequential(layers)
    model.build([None, 3])
    return model


def walk(model, averages, epochs=(0,) * STEPS, seed=0):
    """Gives all weights random values step by step; returns those of each step."""
    rng = np.random.default_rng(seed)
    seen = []
    for step, epoch in enumerate(epochs, 1):
        for weight in model.weights:
            weight.assign(rng.normal(size=weight.shape))
        averages.update(epoch, step)
        seen.append(model.get_weights())
    return seen


def averaged(model, averages):
    with averages.in_place():
        return model.get_weights()


def assert_equal(found, expected):
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_exponential_average_is_the_one_written_down_statistics_of_batches_included():
    model = make_model()
    averages = WeightAverages(model, AveragingConfig(decay=0.3))
    seen = walk(model, averages)
    expected = seen[0]
    for done, weights in enumerate(seen[1:], 1):
        decay = min(0.3, (1 + done) / (10 + done))
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, weights)]
    assert_equal(averaged(model, averages), expected)
    assert len(model.get_weights()) == 6


def test_the_uniform_average_is_the_mean_of_every_nth_step_since_its_first_epoch():
    model = make_model()
    averages = WeightAverages(model, AveragingConfig(type="uniform", first_epoch=1, every=2))
    seen = walk(model, averages, epochs=(0, 0, 0, 1, 1, 2, 2))
    chosen = [seen[3], seen[5]]
    assert_equal(averaged(model, averages), [np.mean(weights, 0) for weights in zip(*chosen)])


def test_within_the_averages_and_behind_them_the_own_weights_also_after_an_error():
    model = make_model()
    averages = WeightAverages(model, AveragingConfig())
    last = walk(model, averages)[-1]
    first = averaged(model, averages)
    assert not np.allclose(first[0], last[0])
    assert_equal(model.get_weights(), last)
    with pytest.raises(RuntimeError), averages.in_place():
        raise RuntimeError
    assert_equal(model.get_weights(), last)
    assert_equal(averaged(model, averages), first)


def test_before_the_first_update_the_own_weights_are_in_place():
    model = make_model()
    averages = WeightAverages(model, AveragingConfig(first_epoch=1))
    (last,) = walk(model, averages, epochs=(0,))
    assert_equal(averaged(model, averages), last)


def test_averages_come_back_from_a_checkpoint(tmp_path):
    config = AveragingConfig(decay=0.6)
    model = make_model()
    averages = WeightAverages(model, config)
    walk(model, averages)
    path = tf.train.Checkpoint(model=model, averages=averages).save(str(tmp_path / "c"))
    other = make_model()
    again = WeightAverages(other, config)
    tf.train.Checkpoint(model=other, averages=again).restore(path).assert_consumed()
    assert_equal(averaged(other, again), averaged(model, averages))
    for one, its in ((model, averages), (other, again)):
        walk(one, its, seed=1)
    assert_equal(averaged(other, again), averaged(model, averages))
