"""Embedding each text once: from the cache where it is there, in batches of equal length where not."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from crossrec.components.features.item_table import Array
from crossrec.components.features.spill import Place
from crossrec.components.progress import progress
from crossrec.components.text.export import load_encoder
from crossrec.components.text_embedder.cache import VectorCache
from crossrec.components.text_embedder.report import EncoderFigures
from crossrec.components.text_embedder.texts import read_texts
from crossrec.components.text_embedder.vectors import Vectors, hashes_of, write_vectors

BATCH = 32
_CHUNK = 8192


def embed(encoder: Any, texts: list[bytes]) -> Array:
    """Vectors of texts.

    A batch holds texts of one number of tokens and is always of one size, the last one filled up: no work is done for
    padding, and a vector does not depend, to the last bit, on which other texts are to be embedded.

    Args:
        encoder: What ``load_encoder`` gave.
        texts: UTF-8, N of them.

    Returns:
        float32 ``[N, dimension]``.
    """
    counts = np.concatenate(
        [encoder.count_tokens(tf.constant(texts[i : i + _CHUNK])).numpy() for i in range(0, len(texts), _CHUNK)]
    )
    order = np.argsort(counts, kind="stable")
    vectors = None
    for group in np.split(order, np.flatnonzero(np.diff(counts[order])) + 1):
        for start in range(0, len(group), BATCH):
            rows = group[start : start + BATCH]
            batch = [texts[row] for row in rows]
            made = encoder.encode(tf.constant(batch + batch[:1] * (BATCH - len(batch)))).numpy()
            if vectors is None:
                vectors = np.empty((len(texts), made.shape[1]), np.float32)
            vectors[rows] = made[: len(rows)]
    assert vectors is not None
    return vectors


@dataclass(frozen=True)
class Embedded:
    """Texts with their vectors.

    Attributes:
        texts: Different texts, ordered by their hashes.
        vectors: Theirs, in this order.
        computed: How many the cache did not have.
        damaged_files: Files of the cache that did not hold what was written.
        seconds: What the encoder took.
    """

    texts: list[bytes]
    vectors: Vectors
    computed: int
    damaged_files: int
    seconds: float


def embed_new(texts: Sequence[bytes], load: Callable[[], Any], cache: VectorCache, prefix: str = "") -> Embedded:
    """Embeds what the cache does not have, and puts it there chunk by chunk, for a run that is broken off.

    Args:
        texts: Different texts, at least one.
        load: Gives the encoder; called only where one is needed.
        cache: The encoder's.
        prefix: Hexadecimal digits that the hashes of all texts begin with.
    """
    hashes = hashes_of(texts)
    order = np.argsort(hashes)
    hashes, ordered = hashes[order], [texts[place] for place in order]
    known, damaged = cache.load(prefix)
    places = known.find(hashes)
    missing = np.flatnonzero(places < 0)
    made, seconds = [], 0.0
    encoder = load() if len(missing) else None
    for start in range(0, len(missing), _CHUNK):
        rows = missing[start : start + _CHUNK]
        started = time.perf_counter()
        vectors = embed(encoder, [ordered[row] for row in rows])
        seconds += time.perf_counter() - started
        made.append(vectors)
        cache.store(prefix, Vectors(hashes[rows], vectors))
        progress(f"{start + len(rows):,} of {len(missing):,} new texts embedded")
    table = np.empty((len(ordered), (made or [known.vectors])[0].shape[1]), np.float32)
    if made:
        table[missing] = np.concatenate(made)
    if len(missing) < len(ordered):
        table[places >= 0] = known.vectors[places[places >= 0]]
    return Embedded(ordered, Vectors(hashes, table), len(missing), damaged, seconds)


def table_path(directory: str, key: str, prefix: str) -> str:
    """The file of the vectors of one encoder whose hashes begin with some digits."""
    return posixpath.join(directory, key, f"at-{prefix}.vectors")


class EmbedTexts(beam.DoFn):
    """The texts of one encoder and prefix to a table of their vectors; gives its figures."""

    def __init__(self, directories: Mapping[str, str], digests: Mapping[str, str], cache: str, tables: str):
        """Keeps what the workers need.

        Args:
            directories: Directory of each encoder, by key.
            digests: Digest of what each computes.
            cache: Root of the cache.
            tables: Directory of the tables.
        """
        self._directories, self._digests = dict(directories), dict(digests)
        self._cache, self._tables = cache, tables

    def setup(self) -> None:
        """Begins without an encoder: those that are needed are loaded."""
        self._encoders: dict[str, Any] = {}

    def process(self, element: tuple[tuple[str, str], Iterable[Place]]) -> Iterator[EncoderFigures]:
        """Embeds the texts of one encoder and prefix."""
        (key, prefix), places = element
        marks = read_texts(places)
        cache = VectorCache(posixpath.join(self._cache, self._digests[key]))
        found = embed_new(list(marks), lambda: self._encoder(key), cache, prefix)
        path = table_path(self._tables, key, prefix)
        write_vectors(path, found.vectors)
        write_marks(path, np.array([marks[text] for text in found.texts], np.uint8))
        yield EncoderFigures(
            encoder=key,
            digest=self._digests[key],
            texts=len(found.texts),
            computed=found.computed,
            from_cache=len(found.texts) - found.computed,
            damaged_files=found.damaged_files,
            seconds=found.seconds,
        )

    def _encoder(self, key: str) -> Any:
        if key not in self._encoders:
            self._encoders[key] = load_encoder(self._directories[key])
        return self._encoders[key]


def write_marks(path: str, marks: Array) -> None:
    """Writes where the texts of a table stand, uint8 ``[N]``, beside it."""
    with fileio.open(f"{path}.marks", "wb") as file:
        file.write(marks.tobytes())


def read_marks(path: str) -> Array:
    """Reads where the texts of a table stand, uint8 ``[N]``."""
    with fileio.open(f"{path}.marks", "rb") as file:
        return np.frombuffer(file.read(), np.uint8)


def add_up(figures: Iterable[EncoderFigures]) -> EncoderFigures:
    """The figures of several tables of one encoder together."""
    parts = list(figures)
    counted = ("texts", "computed", "from_cache", "damaged_files", "seconds")
    return parts[0].model_copy(update={name: sum(getattr(part, name) for part in parts) for name in counted})
