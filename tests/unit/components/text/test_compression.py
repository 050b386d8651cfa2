"""Weights in fewer bits."""

import numpy as np
import tensorflow as tf

from crossrec.components.text.compression import SMALLEST, Widened, compress, quantize, shared_name


def test_steps_by_hand():
    weights = np.array([[127, 1], [-63.6, -2], [0.4, 0]], np.float32)
    values, scales = quantize(weights, axis=0)
    assert values.tolist() == [[127, 64], [-64, -127], [0, 0]]
    np.testing.assert_allclose(scales, [[1, 2 / 127]], rtol=1e-6)
    values, scales = quantize(weights[:2], axis=1)
    assert values.tolist() == [[127, 1], [-127, -4]]
    np.testing.assert_allclose(scales, [[1], [63.6 / 127]], rtol=1e-6)


def test_no_weight_moves_by_more_than_half_a_step_and_signs_swap():
    weights = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    for axis in (0, 1):
        values, scales = quantize(weights, axis)
        assert (np.abs(values * scales - weights) <= scales / 2 * (1 + 1e-5)).all()
        np.testing.assert_array_equal(quantize(-weights, axis)[0], -values)


def test_a_channel_of_zeros():
    values, scales = quantize(np.zeros((3, 2), np.float32), axis=0)
    assert not values.any() and not scales.any()


def test_what_is_compressed():
    large = np.ones((SMALLEST // 64, 64), np.float32)
    assert compress(large, "float32", rows=False)[0] is large
    assert compress(large[1:], "int8", rows=False)[0].dtype == np.float32
    assert compress(large.reshape(-1), "int8", rows=False)[0].dtype == np.float32
    assert compress(large.astype(np.uint8), "int8", rows=False)[0].dtype == np.uint8
    assert [array.shape for array in compress(large, "int8", rows=False)] == [large.shape, (1, 64)]
    assert [array.shape for array in compress(large, "int8", rows=True)] == [large.shape, (SMALLEST // 64, 1)]
    assert compress(large * 1e6, "float16", rows=False)[0].max() == 65504


def test_widened_values():
    values, scales = tf.Variable([[1, -127]], dtype=tf.int8), tf.Variable([[0.5, 2.0]])
    for held, factors, expected in (
        (values, scales, [[0.5, -254]]),
        (tf.Variable([0.1], dtype=tf.float16), None, None),
    ):
        widened = Widened(held, factors, shared_name((held.numpy(),)))
        read = tf.raw_ops.ReadVariableOp(resource=widened.resource_handle, dtype=tf.float32).numpy()
        np.testing.assert_array_equal(read, held.numpy().astype(np.float32) if expected is None else expected)


def test_names_tell_contents_types_and_shapes():
    zeros = [np.zeros(shape, kind) for shape in (4, (2, 2)) for kind in (np.int8, np.float16)]
    names = [shared_name((array,)) for array in (*zeros, np.ones(4, np.int8))]
    assert len(set(names)) == len(names)
    assert shared_name((zeros[0].copy(),)) == names[0]
