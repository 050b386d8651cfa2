"""The base of all text encoders: tokens and their mask from strings, one vector from tokens."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras


class EncoderNetwork(tf_keras.Model):
    """A trainable function from texts to vectors, in ops that the stock server has (TensorFlow and TensorFlow Text).

    Tokens of a batch are padded to its longest text only, so that one short query is fast; a text's vector does not
    depend on its neighbours.
    """

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        raise NotImplementedError

    def tokenize(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes tokens of texts.

        Args:
            texts: UTF-8 strings ``[N]``.

        Returns:
            Ids int32 ``[N, T]`` and their mask int32 ``[N, T]``: 1 for a token, 0 for padding.
        """
        raise NotImplementedError

    def call(self, ids: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Makes vectors of tokens.

        Args:
            ids: int32 ``[N, T]``.
            mask: int32 ``[N, T]``.
            training: Whether dropout is on.

        Returns:
            float32 ``[N, width]``, pooled and not normalised.
        """
        raise NotImplementedError

    def embed(self, texts: tf.Tensor) -> tf.Tensor:
        """Makes vectors of texts, without dropout.

        Args:
            texts: UTF-8 strings ``[N]``.

        Returns:
            float32 ``[N, width]``, not normalised.
        """
        ids, mask = self.tokenize(texts)
        return self(ids, mask, training=False)


def padded(tokens: tf.RaggedTensor, max_tokens: int, first: int | None, last: int | None) -> tuple[Any, Any]:
    """Cuts long texts and pads the others to the longest.

    Args:
        tokens: int32 ``[N, (tokens)]``.
        max_tokens: Most tokens of a text, its ends included.
        first: Id put before each text, or None.
        last: Id put behind each text, or None; a text that is cut keeps it.

    Returns:
        Ids int32 ``[N, T]``, 0 where padded, and their mask int32 ``[N, T]``; T is at least 1.
    """
    tokens = tokens[:, : max_tokens - sum(end is not None for end in (first, last))]
    ids, lengths = tokens.to_tensor(), tf.cast(tokens.row_lengths(), tf.int32)
    if first is not None:
        ids, lengths = tf.pad(ids, [[0, 0], [1, 0]], constant_values=first), lengths + 1
    if last is not None:
        ids = tf.pad(ids, [[0, 0], [0, 1]])
        behind = tf.range(tf.shape(ids)[1])[tf.newaxis, :] == lengths[:, tf.newaxis]
        ids, lengths = tf.where(behind, last, ids), lengths + 1
    longest = tf.maximum(tf.shape(ids)[1], 1)
    ids = tf.pad(ids, [[0, 0], [0, longest - tf.shape(ids)[1]]])
    return ids, tf.sequence_mask(lengths, longest, tf.int32)


def pooled(states: tf.Tensor, mask: tf.Tensor, pooling: str) -> tf.Tensor:
    """Makes one vector of a text's token vectors.

    Args:
        states: float32 ``[N, T, width]``.
        mask: int32 ``[N, T]``.
        pooling: ``mean`` over the tokens that are no padding (zeros without any), or ``cls``: the first one's vector.

    Returns:
        float32 ``[N, width]``.
    """
    if pooling == "cls":
        return states[:, 0]
    weights = tf.cast(mask, states.dtype)[:, :, tf.newaxis]
    return tf.math.divide_no_nan(tf.reduce_sum(states * weights, axis=1), tf.reduce_sum(weights, axis=1))
