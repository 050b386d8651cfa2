"""The encoder that is trained from scratch on the project's own texts."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from crossrec.components.modeling.interest.transformer import EncoderConfig, EncoderLayer
from crossrec.components.text.config import TextEncoderConfig
from crossrec.components.text.network import EncoderNetwork, padded, pooled
from crossrec.components.text.vocabulary import UNKNOWN_PIECE
from crossrec.components.text.wordpiece import WordPieceTokenizer

_DROPOUT = 0.1
_EPSILON = 1e-6


class SmallNetwork(EncoderNetwork):
    """The mean of token vectors that have gone through a few Transformer layers, or through none.

    With random vectors of tokens, as it begins, it already knows texts that share words from others: a random
    projection keeps the angles between bags of words.
    """

    def __init__(self, pieces: Sequence[str], config: TextEncoderConfig, seed: int):
        """Constructs the network with new weights.

        Args:
            pieces: Word pieces in the order of their ids, as from ``learn_vocabulary``.
            config: Its ``small`` and ``max_tokens`` are used.
            seed: Of the weights.
        """
        super().__init__(name="small")
        small, self._max_tokens = config.small, config.max_tokens
        self._width = small.width
        self._pieces = WordPieceTokenizer(pieces, UNKNOWN_PIECE)
        self._vectors = self.add_weight(
            name="vectors", shape=[len(pieces), small.width], initializer=_normal(small.width**-0.5, seed)
        )
        self._encoder_layers: list[EncoderLayer] = []
        if small.layers:
            self._positions = self.add_weight(
                name="positions",
                shape=[self._max_tokens, small.width],
                initializer=_normal(0.1 * small.width**-0.5, seed + 1),
            )
            sizes = EncoderConfig(
                sequence="tokens",
                layers=small.layers,
                attention_heads=small.heads,
                head_size=small.width // small.heads,
                feed_forward=4 * small.width,
                dropout=_DROPOUT,
            )
            self._encoder_layers = [EncoderLayer(sizes, name=f"layer_{place}") for place in range(small.layers)]
            self._norm = tf_keras.layers.LayerNormalization(epsilon=_EPSILON, name="norm")
            # The layers' own weights have no seed but Keras's, and are made when they are called first.
            tf_keras.utils.set_random_seed(seed)
        self(tf.zeros([1, 1], tf.int32), tf.ones([1, 1], tf.int32))

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self._width

    def tokenize(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes ids and mask int32 ``[N, T]`` of texts ``[N]``; a text without words has no token."""
        return padded(self._pieces(texts, self._max_tokens), self._max_tokens, None, None)

    def call(self, ids: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Makes vectors float32 ``[N, width]`` of ids and mask ``[N, T]``; zeros where no token is."""
        states = tf.gather(self._vectors, ids)
        if self._encoder_layers:
            states += self._positions[: tf.shape(ids)[1]]
            allowed = tf.cast(mask, tf.bool)[:, None, :]
            for layer in self._encoder_layers:
                states = layer(states, allowed, training=training)
            states = self._norm(states)
        return pooled(states, mask, "mean")


def _normal(deviation: float, seed: int) -> tf_keras.initializers.Initializer:
    return tf_keras.initializers.RandomNormal(stddev=deviation, seed=seed)
