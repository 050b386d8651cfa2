"""Texts as tokens, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from crossrec.components.text.network import EncoderNetwork

_BATCH = 256


@dataclass(frozen=True)
class Tokens:
    """Tokens of texts, the longest of which fills its row.

    Attributes:
        ids: int32 ``[N, T]``.
        lengths: Tokens of each text, int32 ``[N]``.
    """

    ids: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]

    @classmethod
    def of(cls, network: EncoderNetwork, texts: Sequence[str]) -> Tokens:
        """Tokenizes texts, each of them once for all epochs."""
        parts = [network.tokenize(tf.constant(texts[start : start + _BATCH])) for start in range(0, len(texts), _BATCH)]
        width = max(part.shape[1] for part, _ in parts)
        ids = np.concatenate([np.pad(part.numpy(), ((0, 0), (0, width - part.shape[1]))) for part, _ in parts])
        return cls(ids, np.concatenate([mask.numpy().sum(1, dtype=np.int32) for _, mask in parts]))

    def take(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Ids and mask of some texts, int32 ``[B, T']``, as long as the longest of them."""
        lengths = self.lengths[rows]
        longest = max(int(lengths.max()), 1)
        return self.ids[rows, :longest], (np.arange(longest) < lengths[:, None]).astype(np.int32)

    def view(
        self, rows: npt.NDArray[np.int64], dropped: float, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """As ``take``, without a random share of the tokens; at least one of a text's tokens stays."""
        ids, mask = self.take(rows)
        chance = np.where(mask > 0, rng.random(mask.shape), -1.0)
        kept = (chance >= dropped) | (chance == chance.max(1, keepdims=True))
        return ids, mask * kept.astype(np.int32)


class Embedder:
    """An encoder without dropout, traced once; it follows the network's weights."""

    def __init__(self, network: EncoderNetwork):
        """Constructs it for a network."""
        self._width = network.width
        self._call = tf.function(
            lambda ids, mask: network(ids, mask, training=False),
            input_signature=[tf.TensorSpec([None, None], tf.int32)] * 2,
            autograph=False,
        )

    def __call__(self, tokens: Tokens, rows: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.float32]:
        """Makes vectors of texts, float32 ``[N, width]``, not normalised.

        Args:
            tokens: Texts.
            rows: Which of them; all if left out.
        """
        rows = np.arange(len(tokens.ids)) if rows is None else rows
        vectors = np.zeros((len(rows), self._width), np.float32)
        # Texts of like length together: padding costs as much as tokens.
        order = np.argsort(tokens.lengths[rows], kind="stable")
        for start in range(0, len(order), _BATCH):
            places = order[start : start + _BATCH]
            vectors[places] = self._call(*map(tf.constant, tokens.take(rows[places]))).numpy()
        return vectors
