"""The catalogue after the feature transform: one row per item, and a last row for unknown items."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from tfx.dsl.io import fileio

Array = np.ndarray[Any, Any]
_FILE = "items.npz"


@dataclass(frozen=True)
class ItemTable:
    """Transformed item features by row.

    Attributes:
        ids: Item ids, object array ``[N]`` of str, ascending.
        features: ``{name: [N + 1, width]}``; the last row is an item with nothing known.
        frequencies: int64 ``[N]``, positive interactions of each item in the training split.
        display: ``{column: [N]}`` of str, raw columns that the bundle returns beside the ids.
    """

    ids: Array
    features: dict[str, Array]
    frequencies: Array
    display: dict[str, Array]

    @property
    def items(self) -> int:
        """Number of items, the row of unknown items left out."""
        return len(self.ids)

    def write(self, directory: str) -> None:
        """Writes the table into a directory, which is made if missing."""
        fileio.makedirs(directory)
        arrays = {f"feature/{name}": values for name, values in self.features.items()}
        arrays |= {f"display/{name}": _encode(values) for name, values in self.display.items()}
        # A zip file is written with seeks, which not every file system of TFX has.
        buffer = io.BytesIO()
        np.savez(buffer, ids=_encode(self.ids), frequencies=self.frequencies, **arrays)
        with fileio.open(f"{directory}/{_FILE}", "wb") as file:
            file.write(buffer.getvalue())

    @classmethod
    def read(cls, directory: str) -> ItemTable:
        """Reads the table of a directory."""
        with fileio.open(f"{directory}/{_FILE}", "rb") as file, np.load(io.BytesIO(file.read())) as arrays:
            parts = {key: arrays[key] for key in arrays.files}
        return cls(
            ids=_decode(parts["ids"]),
            frequencies=parts["frequencies"],
            features={key[8:]: values for key, values in parts.items() if key.startswith("feature/")},
            display={key[8:]: _decode(values) for key, values in parts.items() if key.startswith("display/")},
        )


def _encode(strings: Array) -> Array:
    """Strings as one uint8 array with lengths in front: no pickle, no padding to the longest."""
    encoded = [str(text).encode("utf-8") for text in strings]
    lengths = np.array([len(encoded), *map(len, encoded)], np.int64)
    return np.concatenate([np.frombuffer(lengths.tobytes(), np.uint8), np.frombuffer(b"".join(encoded), np.uint8)])


def _decode(array: Array) -> Array:
    data = array.tobytes()
    count = int(np.frombuffer(data[:8], np.int64)[0])
    ends = 8 * (count + 1) + np.cumsum(np.frombuffer(data[8 : 8 * (count + 1)], np.int64))
    starts = np.concatenate([[8 * (count + 1)], ends[:-1]])
    out = np.empty(count, object)
    out[:] = [data[a:b].decode("utf-8") for a, b in zip(starts, ends)]
    return out
