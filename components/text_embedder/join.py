"""Copies of examples with columns added: the vector of each row's text, or its cluster."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from crossrec.components.features.encodings import Encoding
from crossrec.components.features.item_table import Array
from crossrec.components.text_embedder.cache import prefix_of
from crossrec.components.text_embedder.clusters import nearest_cluster
from crossrec.components.text_embedder.embed import table_path
from crossrec.components.text_embedder.vectors import Vectors, map_vectors

_BATCH = 2048
_REMEMBERED = 20_000


class VectorTables:
    """The vectors of all texts on disk, as a worker looks them up."""

    def __init__(self, directory: str, digits: int):
        """Uses the tables of a directory.

        Args:
            directory: Where ``EmbedTexts`` wrote them; tables elsewhere than on this machine are copied once.
            digits: Hexadecimal digits of the hash by which they are divided.
        """
        self._directory, self._digits = directory, digits
        self._open: dict[tuple[str, str], Vectors] = {}
        self._copies: str | None = None

    def vectors(self, key: str, texts: Sequence[bytes]) -> Array:
        """Vectors of texts that are there, float32 ``[n, dimension]``."""
        digests = [hashlib.sha256(text).digest() for text in texts]
        by_prefix: dict[str, list[int]] = {}
        for place, digest in enumerate(digests):
            by_prefix.setdefault(prefix_of(digest, self._digits), []).append(place)
        out: Array | None = None
        for prefix, places in by_prefix.items():
            table = self._table(key, prefix)
            rows = table.find(np.array([digests[place][:16] for place in places], table.hashes.dtype))
            if out is None:
                out = np.empty((len(texts), table.vectors.shape[1]), np.float32)
            out[places] = table.vectors[rows]
        assert out is not None
        return out

    def close(self) -> None:
        """Removes the copies."""
        self._open.clear()
        if self._copies is not None:
            shutil.rmtree(self._copies)
            self._copies = None

    def _table(self, key: str, prefix: str) -> Vectors:
        if (key, prefix) not in self._open:
            path = table_path(self._directory, key, prefix)
            if "://" in path:
                self._copies = self._copies or tempfile.mkdtemp()
                copy = os.path.join(self._copies, f"{key}-{prefix}")
                fileio.copy(path, copy, overwrite=True)
                path = copy
            self._open[key, prefix] = map_vectors(path)
        return self._open[key, prefix]


class AddColumns(beam.DoFn):
    """One file of examples to a copy with the columns, row for row; gives the number of rows."""

    def __init__(
        self, encodings: Sequence[Encoding], tables: tuple[str, int], centres: Mapping[tuple[str, int], Array]
    ):
        """Keeps what the workers need.

        Args:
            encodings: The columns of this side.
            tables: As for ``VectorTables``.
            centres: Centres of the clusters, by encoder and number.
        """
        self._encodings, self._place, self._centres = tuple(encodings), tables, dict(centres)

    def setup(self) -> None:
        """Opens the tables."""
        self._tables = VectorTables(*self._place)
        self._known: dict[tuple[str, bytes], bytes] = {}

    def teardown(self) -> None:
        """Closes the tables."""
        self._tables.close()

    def process(self, element: tuple[str, str]) -> Iterator[int]:
        """Copies a file.

        Args:
            element: Paths of the file and of the copy.
        """
        source, target = element
        fileio.makedirs(posixpath.dirname(target))
        temporary = f"{target}.{uuid.uuid4().hex}.part"
        rows = 0
        # Level 1, as the examples themselves are written.
        options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
        with tf.io.TFRecordWriter(temporary, options) as writer:
            for records in tf.data.TFRecordDataset(source, compression_type="GZIP").batch(_BATCH):
                added = self._columns(records)
                for row, record in enumerate(records.numpy()):
                    # Messages one behind the other are read as one that has the fields of both
                    # (Protocol Buffers, "Encoding", on merging).
                    writer.write(b"".join((record, *(column[row] for column in added))))
                rows += len(records)
        fileio.rename(temporary, target, overwrite=True)
        yield rows

    def _columns(self, records: tf.Tensor) -> list[list[bytes]]:
        """What is put behind each record, for each encoding."""
        if not self._encodings:
            return []
        names = sorted({encoding.column for encoding in self._encodings})
        parsed = tf.io.parse_example(records, {name: tf.io.RaggedFeature(tf.string) for name in names})
        texts = {name: [values[0] if len(values) else None for values in parsed[name].numpy()] for name in names}
        columns = []
        for encoding in self._encodings:
            column = texts[encoding.column]
            known = self._messages(encoding, {text for text in column if text is not None})
            columns.append([b"" if text is None else known[text] for text in column])
        return columns

    def _messages(self, encoding: Encoding, texts: set[bytes]) -> dict[bytes, bytes]:
        """The column's value of each text as a serialized tf.Example; nothing for a blank one."""
        name = encoding.encoded_column
        found = {text: self._known[name, text] for text in texts if (name, text) in self._known}
        new = sorted(texts - set(found))
        if not new:
            return found
        vectors = self._tables.vectors(encoding.encoder, new)
        blank = ~vectors.any(1)
        if encoding.clusters is not None:
            centres = tf.constant(self._centres[encoding.encoder, encoding.clusters])
            ids = nearest_cluster(tf.constant(vectors), centres).numpy()
            features = [tf.train.Feature(int64_list=tf.train.Int64List(value=[value])) for value in ids]
        else:
            features = [tf.train.Feature(float_list=tf.train.FloatList(value=vector)) for vector in vectors]
        made = {text: b"" if empty else _message(name, feature) for text, empty, feature in zip(new, blank, features)}
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        self._known.update({(name, text): message for text, message in made.items()})
        return found | made


def _message(name: str, feature: Any) -> bytes:
    example = tf.train.Example(features=tf.train.Features(feature={name: feature}))
    return bytes(example.SerializeToString())
