"""Vectors of earlier runs, by what the encoder computes and by the text."""

from __future__ import annotations

import hashlib
import posixpath

import numpy as np
from tfx.dsl.io import fileio

from crossrec.components.text_embedder.vectors import HASH, DamagedFileError, Vectors, read_vectors, write_vectors

_SUFFIX = ".vectors"


class VectorCache:
    """One encoder's folder of the cache.

    A file holds vectors of texts whose hashes begin with the hexadecimal digits that its name begins with. Any number
    of runs may read and write at once: files are only added, each whole, and equal content has an equal name.
    """

    def __init__(self, directory: str):
        """Uses a folder, which need not be there yet."""
        self._directory = directory

    def load(self, prefix: str) -> tuple[Vectors, int]:
        """All vectors of texts whose hash begins with some hexadecimal digits.

        Returns:
            The vectors, and how many files were damaged; these are gone, so that they are written again.
        """
        parts, damaged = [], 0
        for path in sorted(fileio.glob(posixpath.join(self._directory, f"*{_SUFFIX}"))):
            digits = posixpath.basename(path).partition("-")[0]
            if not (digits.startswith(prefix) or prefix.startswith(digits)):
                continue
            try:
                found = read_vectors(path)
            except DamagedFileError:
                damaged += 1
                _remove(path)
                continue
            first, behind = _range(prefix)
            start = np.searchsorted(found.hashes, first)
            stop = len(found.hashes) if behind is None else np.searchsorted(found.hashes, behind)
            parts.append(Vectors(found.hashes[start:stop], found.vectors[start:stop]))
        return _merge(parts), damaged

    def store(self, prefix: str, found: Vectors) -> None:
        """Adds vectors of texts whose hashes begin with these digits."""
        name = hashlib.sha256(found.hashes.tobytes()).hexdigest()[:16]
        write_vectors(posixpath.join(self._directory, f"{prefix}-{name}{_SUFFIX}"), found)


def prefix_of(digest: bytes, digits: int) -> str:
    """The first hexadecimal digits of a hash."""
    return digest.hex()[:digits]


def _range(prefix: str) -> tuple[bytes, bytes | None]:
    """The lowest hash with the prefix, and the lowest behind them all, if there is one."""
    width = HASH.itemsize
    first = bytes.fromhex(prefix.ljust(2 * width, "0"))
    behind = (int(prefix, 16) + 1) << 4 * (2 * width - len(prefix)) if prefix else 1 << 8 * width
    return first, behind.to_bytes(width, "big") if behind < 1 << 8 * width else None


def _merge(parts: list[Vectors]) -> Vectors:
    if not parts:
        return Vectors(np.empty(0, HASH), np.empty((0, 0), np.float32))
    hashes, places = np.unique(np.concatenate([part.hashes for part in parts]), return_index=True)
    return Vectors(hashes, np.concatenate([part.vectors for part in parts])[places])


def _remove(path: str) -> None:
    # Another run may have found it damaged too, and been faster.
    if fileio.exists(path):
        fileio.remove(path)
