import numpy as np
import tensorflow as tf
import tf_keras

from crossrec.components.modeling.lazy_adam import LazyAdam


def steps(optimizer, indices, count=3):
    table = tf.Variable(np.arange(12, dtype=np.float32).reshape(6, 2))
    optimizer.build([table])
    for number in range(count):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(tf.gather(table, indices)) * (number + 1.0))
        optimizer.apply_gradients([(tape.gradient(loss, table), table)])
    return table.numpy()


def test_rows_seen_in_every_step_move_as_by_adam_also_where_a_batch_repeats_them():
    indices = [1, 4, 4]
    lazy, plain = steps(LazyAdam(0.1), indices), steps(tf_keras.optimizers.Adam(0.1), indices)
    np.testing.assert_allclose(lazy, plain, rtol=1e-5)


def test_rows_that_no_batch_sees_stay_where_they_are():
    table = steps(LazyAdam(0.1), [1, 4])
    np.testing.assert_array_equal(table[[0, 2, 3, 5]], np.arange(12).reshape(6, 2)[[0, 2, 3, 5]])


def test_a_row_left_out_of_a_step_does_not_drift():
    table = tf.Variable(np.ones((2, 1), np.float32))
    optimizer = LazyAdam(0.1)
    optimizer.build([table])
    optimizer.apply_gradients([(tf.IndexedSlices(tf.constant([[1.0]]), tf.constant([0])), table)])
    before = table.numpy()[0, 0]
    optimizer.apply_gradients([(tf.IndexedSlices(tf.constant([[1.0]]), tf.constant([1])), table)])
    assert table.numpy()[0, 0] == before


def test_dense_gradients_are_adams():
    results = []
    for optimizer in (LazyAdam(0.05), tf_keras.optimizers.Adam(0.05)):
        weight = tf.Variable([1.0, -2.0])
        optimizer.build([weight])
        for _ in range(3):
            optimizer.apply_gradients([(2.0 * weight.value(), weight)])
        results.append(weight.numpy())
    np.testing.assert_allclose(*results, rtol=1e-6)
