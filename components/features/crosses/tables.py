"""What fitted crosses look up, beside the schema: arrays by cross."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from tfx.dsl.io import fileio

from crossrec.components.features.crosses.counts import Array

FILE = "cross_tables.npz"


class CrossTables:
    """Arrays by cross and name; equal if all of them are.

    Attributes:
        arrays: ``{cross: {name: array}}``.
    """

    def __init__(self, arrays: Mapping[str, Mapping[str, Array]] | None = None):
        """Keeps the arrays; none if left out."""
        self.arrays = {cross: dict(named) for cross, named in (arrays or {}).items()}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CrossTables):
            return NotImplemented
        mine, theirs = self._flat(), other._flat()
        return mine.keys() == theirs.keys() and all(np.array_equal(mine[key], theirs[key]) for key in mine)

    __hash__ = None  # type: ignore[assignment]

    def _flat(self) -> dict[str, Array]:
        return {f"{cross}/{name}": array for cross, named in self.arrays.items() for name, array in named.items()}

    def write(self, directory: str) -> None:
        """Writes the arrays into a directory, if there are any."""
        if self.arrays:
            # A zip file is written with seeks, which not every file system of TFX has.
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **self._flat())
            with fileio.open(f"{directory}/{FILE}", "wb") as file:
                file.write(buffer.getvalue())

    @classmethod
    def read(cls, directory: str) -> CrossTables:
        """Reads the arrays of a directory; none if there is no file of them."""
        path = f"{directory}/{FILE}"
        arrays: dict[str, dict[str, Array]] = {}
        if fileio.exists(path):
            with fileio.open(path, "rb") as file, np.load(io.BytesIO(file.read())) as loaded:
                for key in loaded.files:
                    cross, name = key.split("/")
                    arrays.setdefault(cross, {})[name] = loaded[key]
        return cls(arrays)
