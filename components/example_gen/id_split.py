"""Divides rows by a hash of ids, so that all rows of one user, query or request are on one side."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from crossrec.components.example_gen.split import SplitConfig

_BYTES = 8


def assign(ids: Sequence[pa.ChunkedArray], split: SplitConfig) -> npt.NDArray[Any]:
    """Assign rows to splits.

    The hash spreads ids evenly over [0, 1): the first part is the test data, the next one validation, the rest is for
    training. So it depends on nothing but the id and the seed, and a larger share keeps what a smaller one had.

    Args:
        ids: Columns of ids, text [rows] each; the first that is there counts.
        split: Shares and seed.

    Returns:
        Indices into `SPLITS`, [rows].
    """
    encoded = pc.coalesce(*ids).combine_chunks().dictionary_encode()
    shares = np.array([share_of(text, split.seed) for text in encoded.dictionary.to_pylist()])
    test = split.test or 0.0
    places = np.where(shares < test, 2, np.where(shares < test + (split.validation or 0.0), 1, 0))
    found: npt.NDArray[Any] = places[encoded.indices.to_numpy()]
    return found


def share_of(text: str, seed: int) -> float:
    """Where an id lies between 0 and 1, the same on every machine.

    Example:
        >>> round(share_of("laptop", 0), 4)
        0.2258
    """
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=_BYTES, key=str(seed).encode("ascii")).digest()
    return int.from_bytes(digest, "big") / 2.0 ** (8 * _BYTES)
