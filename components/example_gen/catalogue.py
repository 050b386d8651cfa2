"""The known item ids, shared by all workers that read interactions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc


class Catalogue:
    """A sorted set of item ids.

    Example:
        >>> catalogue = Catalogue.from_ids(pa.array(["b", "a"]))
        >>> catalogue.find(pa.array(["b", "x"])).to_pylist()
        [1, None]
    """

    def __init__(self, ids: pa.Array) -> None:
        """Wrap ids that are sorted and unique; `from_ids` makes them so."""
        self._ids = ids

    @classmethod
    def from_ids(cls, ids: pa.Array | pa.ChunkedArray) -> Catalogue:
        """Make a catalogue of ids in any order.

        Args:
            ids: Strings [n]; may repeat.

        Returns:
            The catalogue.
        """
        unique = pc.unique(ids)
        return cls(unique.take(pc.sort_indices(unique)))

    @classmethod
    def merge(cls, catalogues: Iterable[Catalogue]) -> Catalogue:
        """Join catalogues."""
        return cls.from_ids(pa.chunked_array([catalogue._ids for catalogue in catalogues], pa.string()))

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids.to_pylist())

    def find(self, ids: pa.Array) -> pa.Array:
        """Look items up.

        Args:
            ids: Strings [rows].

        Returns:
            Int32 array [rows] of positions in the catalogue, null for items that are not in it.
        """
        return pc.index_in(ids, value_set=self._ids)
