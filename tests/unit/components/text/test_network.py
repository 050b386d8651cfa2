"""Padding and pooling."""

import numpy as np
import tensorflow as tf

from crossrec.components.text.network import padded, pooled


def test_long_texts_are_cut_and_keep_their_ends():
    ids, mask = padded(tf.ragged.constant([[5, 6, 7, 8], [], [9]], dtype=tf.int32), 4, 1, 2)
    assert ids.numpy().tolist() == [[1, 5, 6, 2], [1, 2, 0, 0], [1, 9, 2, 0]]
    assert mask.numpy().tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]


def test_a_batch_is_as_wide_as_its_longest_text():
    ids, mask = padded(tf.ragged.constant([[5, 6], [7]], dtype=tf.int32), 64, None, None)
    assert ids.numpy().tolist() == [[5, 6], [7, 0]] and mask.numpy().tolist() == [[1, 1], [1, 0]]


def test_without_ends_an_empty_batch_and_empty_texts_have_one_column():
    for rows in ([], [[], []]):
        ids, mask = padded(tf.ragged.constant(rows, dtype=tf.int32, ragged_rank=1), 8, None, None)
        assert ids.numpy().tolist() == mask.numpy().tolist() == [[0]] * len(rows)


def test_pooling_by_hand():
    states = tf.constant([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]], [[7.0, 7.0]] * 3])
    mask = tf.constant([[1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(pooled(states, mask, "mean"), [[2, 4], [0, 0]])
    np.testing.assert_array_equal(pooled(states, mask, "cls"), [[1, 2], [7, 7]])
