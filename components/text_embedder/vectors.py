"""Files of vectors by the hash of their text: sorted, with a checksum, written whole or not at all."""

from __future__ import annotations

import hashlib
import posixpath
import struct
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from tfx.dsl.io import fileio

from crossrec.components.features.item_table import Array
from crossrec.components.features.sorted_keys import find

HASH = np.dtype("S16")
_MAGIC = b"crossrec vec 001"
_HEADER = struct.Struct("<16sqq32s")


class DamagedFileError(ValueError):
    """A file that does not hold what was written."""


@dataclass(frozen=True)
class Vectors:
    """Vectors by hash.

    Attributes:
        hashes: ``S16 [N]``, ascending.
        vectors: float32 ``[N, D]``.
    """

    hashes: Array
    vectors: Array

    def find(self, hashes: Array) -> Array:
        """Places of some hashes, int64 ``[n]``, -1 where there is none."""
        return find(self.hashes, hashes)


def hashes_of(texts: Iterable[bytes]) -> Array:
    """The first 16 bytes of each text's SHA-256, ``S16 [N]``; equal for none of a billion texts by chance."""
    return np.array([hashlib.sha256(text).digest()[:16] for text in texts], HASH)


def write_vectors(path: str, found: Vectors) -> None:
    """Writes a file under another name first, so that nobody sees half of it.

    Args:
        path: Where to; a file that is there is replaced.
        found: Vectors, by ascending hash.
    """
    body = found.hashes.tobytes() + np.ascontiguousarray(found.vectors, "<f4").tobytes()
    header = _HEADER.pack(_MAGIC, *found.vectors.shape, hashlib.sha256(body).digest())
    fileio.makedirs(posixpath.dirname(path))
    temporary = f"{path}.{uuid.uuid4().hex}.part"
    with fileio.open(temporary, "wb") as file:
        file.write(header + body)
    fileio.rename(temporary, path, overwrite=True)


def read_vectors(path: str) -> Vectors:
    """Reads a file.

    Raises:
        DamagedFileError: Its length or its checksum is not that of what was written.
    """
    with fileio.open(path, "rb") as file:
        content = file.read()
    if len(content) < _HEADER.size:
        raise DamagedFileError(f"{path}: {len(content)} bytes, less than a header")
    magic, rows, dimension, digest = _HEADER.unpack_from(content)
    body = memoryview(content)[_HEADER.size :]
    if magic != _MAGIC or len(body) != rows * (HASH.itemsize + 4 * dimension):
        raise DamagedFileError(f"{path}: {len(content)} bytes, which is not what its header says")
    if hashlib.sha256(body).digest() != digest:
        raise DamagedFileError(f"{path}: its checksum is not that of what was written")
    hashes = np.frombuffer(body, HASH, rows)
    return Vectors(hashes, np.frombuffer(body, "<f4", offset=hashes.nbytes).reshape(rows, dimension))


def map_vectors(path: str) -> Vectors:
    """A file of this machine without reading it: only the pages that are looked at come into memory."""
    with open(path, "rb") as file:
        _, rows, dimension, _ = _HEADER.unpack(file.read(_HEADER.size))
    if not rows:
        return Vectors(np.empty(0, HASH), np.empty((0, dimension), np.float32))
    hashes = np.memmap(path, HASH, "r", _HEADER.size, (rows,))
    vectors = np.memmap(path, "<f4", "r", _HEADER.size + hashes.nbytes, (rows, dimension))
    return Vectors(hashes, vectors)
