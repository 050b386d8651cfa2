"""The catalogue after the feature transform: one row per item, and a last row for unknown items."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tfx.dsl.io import fileio

from crossrec.components.features.kept import find_kept, keep
from crossrec.components.threads import in_threads

Array = np.ndarray[Any, Any]
_FILE = "items.npz"
_ROUNDING = 2e-6
# Rows that are compared at a time.
_ROWS = 65_536


@dataclass(frozen=True)
class ItemTable:
    """Transformed item features by row.

    Attributes:
        ids: Item ids, object array ``[N]`` of str; each has one row.
        features: ``{name: [N + 1, width]}``; the last row is an item with nothing known.
        frequencies: int64 ``[N]``, positive interactions of each item in the training split.
        display: ``{column: [N]}`` of str, raw columns that the bundle returns beside the ids.
        removed: bool ``[N]``, items that the catalogue no longer has. They keep their rows, because models know items
            by row and users have met them; no list holds them. None where there are none.
    """

    ids: Array
    features: dict[str, Array]
    frequencies: Array
    display: dict[str, Array]
    removed: Array | None = None

    @property
    def items(self) -> int:
        """Number of rows, that of unknown items left out."""
        return len(self.ids)

    @property
    def present(self) -> Array:
        """The rows of items that lists may hold, int64, ascending."""
        return np.arange(self.items) if self.removed is None else np.flatnonzero(~self.removed)

    def write(self, directory: str) -> None:
        """Writes the table into a directory, which is made if missing."""
        fileio.makedirs(directory)
        arrays = {f"feature/{name}": values for name, values in self.features.items()}
        arrays |= {f"display/{name}": _encode(values) for name, values in self.display.items()}
        if self.removed is not None:
            arrays["removed"] = self.removed
        arrays |= {"ids": _encode(self.ids), "frequencies": self.frequencies}
        if "://" not in directory:
            np.savez(f"{directory}/{_FILE}", **arrays)
        else:
            # A zip file is written with seeks, which not every file system of TFX has.
            buffer = io.BytesIO()
            np.savez(buffer, **arrays)
            with fileio.open(f"{directory}/{_FILE}", "wb") as file:
                file.write(buffer.getvalue())
        self._keep(directory)

    @classmethod
    def read(cls, directory: str) -> ItemTable:
        """Reads the table of a directory."""
        known = find_kept(f"{directory}/{_FILE}")
        if isinstance(known, cls):
            return known
        with fileio.open(f"{directory}/{_FILE}", "rb") as file, np.load(io.BytesIO(file.read())) as arrays:
            parts = {key: arrays[key] for key in arrays.files}
        table = cls(
            ids=_decode(parts["ids"]),
            frequencies=parts["frequencies"],
            features={key[8:]: values for key, values in parts.items() if key.startswith("feature/")},
            display={key[8:]: _decode(values) for key, values in parts.items() if key.startswith("display/")},
            removed=parts.get("removed"),
        )
        table._keep(directory)
        return table

    def _keep(self, directory: str) -> None:
        if keep(f"{directory}/{_FILE}", self):
            for array in (self.ids, self.frequencies, self.removed, *self.features.values(), *self.display.values()):
                if array is not None:
                    array.flags.writeable = False


def places_in(ids: Array, others: Array) -> Array:
    """The place of each id among others, int64 ``[n]``; -1 where it is not there."""
    found = pc.index_in(pa.array(ids, pa.string()), value_set=pa.array(others, pa.string()))
    out: Array = pc.fill_null(found, -1).to_numpy().astype(np.int64)
    return out


def former_rows(before: ItemTable, now: ItemTable) -> Array:
    """The row in an earlier table of each row of a table, int64 ``[N]``; -1 where either does not have the item."""
    places = places_in(now.ids, before.ids)
    for table, rows in ((now, np.arange(now.items)), (before, np.maximum(places, 0))):
        if table.removed is not None:
            places = np.where(table.removed[rows], -1, places)
    return places


def differing_rows(left: Array, rows: Array, right: Array, others: Array) -> Array:
    """Which rows of an array ``[N, width]`` differ from rows of another.

    The last bit of a transformed number depends on its place in the batch, vectorised or behind that: such numbers do
    not differ.

    Args:
        left: The one.
        rows: Rows of it, int ``[n]``.
        right: The other.
        others: The rows of that which they are held against, int ``[n]``.

    Returns:
        bool ``[n]``.
    """

    def of(start: int) -> Array:
        piece = slice(start, start + _ROWS)
        return _differing(left[rows[piece]], right[others[piece]])

    return np.concatenate([np.zeros(0, np.bool_), *in_threads(of, range(0, len(rows), _ROWS))])


def _differing(left: Array, right: Array) -> Array:
    if left.dtype.kind == "f":
        out: Array = (np.abs(left - right) > _ROUNDING * np.maximum(1.0, np.abs(right))).any(1)
    else:
        out = (left != right).any(1)
    return out


def _encode(strings: Array) -> Array:
    """Strings as one uint8 array with lengths in front: no pickle, no padding to the longest."""
    texts = pa.array(strings, pa.large_string())
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[: len(texts) + 1]
    lengths = np.concatenate([[len(texts)], np.diff(ends)]).astype(np.int64)
    return np.concatenate(
        [np.frombuffer(lengths.tobytes(), np.uint8), np.frombuffer(data or b"", np.uint8)[: ends[-1]]]
    )


def _decode(array: Array) -> Array:
    count = int(np.frombuffer(array[:8].tobytes(), np.int64)[0])
    start = 8 * (count + 1)
    offsets = np.concatenate([[0], np.cumsum(np.frombuffer(array[8:start].tobytes(), np.int64))]).astype(np.int64)
    data = pa.py_buffer(array[start:].tobytes())
    texts = pa.LargeStringArray.from_buffers(count, pa.py_buffer(offsets.tobytes()), data)
    out: Array = texts.to_numpy(zero_copy_only=False)
    return out
