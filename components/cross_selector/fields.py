"""Fields: a column, or a cross of columns, as ids of a weight table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Union

import numpy as np

from crossrec.components.cross_selector.data import CHUNK, Array
from crossrec.components.features.crosses import PADDING, cross_ids_numpy

_SPREAD = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Field:
    """A column or a cross of columns.

    A cross is numbered by its place in the full table while that is small, else by a multiplicative hash of
    it (Knuth, 1998, The Art of Computer Programming 3, section 6.4).

    Attributes:
        names: The columns.
        sizes: Ids of each column.
        most: Ids at most, a power of two.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    most: int = 2**19

    @property
    def size(self) -> int:
        """Ids of the field."""
        return min(self.most, math.prod(self.sizes))

    @property
    def key(self) -> str:
        """The field as text."""
        return " x ".join(self.names)

    def cells(self, columns: Mapping[str, Array], rows: slice) -> Array:
        """Places of some rows in the full table: int64 ``[m]``, or ``[m, width]`` with -1 for padding."""
        cells = columns[self.names[0]][rows].astype(np.int64)
        valid = cells != PADDING if cells.ndim == 2 else None
        for name, size in zip(self.names[1:], self.sizes[1:]):
            values = columns[name][rows].astype(np.int64)
            if cells.ndim == 1 and values.ndim == 1:
                cells = cells * size + values
                continue
            cells, values = (array[:, None] if array.ndim == 1 else array for array in (cells, values))
            known = values != PADDING
            valid = known if valid is None else (valid[:, :, None] & known[:, None, :]).reshape(len(cells), -1)
            valid = np.broadcast_to(valid, (len(cells), cells.shape[1] * values.shape[1]))
            cells = (cells[:, :, None] * size + values[:, None, :]).reshape(len(cells), -1)
        return cells if valid is None else np.where(valid, cells, PADDING)

    def ids(self, columns: Mapping[str, Array], rows: slice) -> Array:
        """Ids of some rows: int64 ``[m]``, or ``[m, width]`` with -1 for padding."""
        cells = self.cells(columns, rows)
        if math.prod(self.sizes) <= self.most:
            return cells
        shift = np.uint64(64 - (self.most.bit_length() - 1))
        ids = ((cells.astype(np.uint64) * np.uint64(_SPREAD)) >> shift).astype(np.int64)
        return ids if cells.ndim == 1 else np.where(cells == PADDING, PADDING, ids)


@dataclass(frozen=True)
class ServedCross:
    """A cross by the very ids that models and serving see.

    Attributes:
        names: The columns.
        name: The cross's name, its salt.
        buckets: Its ids.
        original: By column, the transformed id of each id of the sample.
    """

    names: tuple[str, ...]
    name: str
    buckets: int
    original: Mapping[str, Array]

    @property
    def size(self) -> int:
        """Ids of the field."""
        return self.buckets + 1

    @property
    def key(self) -> str:
        """The field as text."""
        return " x ".join(self.names)

    def ids(self, columns: Mapping[str, Array], rows: slice) -> Array:
        """Ids of some rows: int64 ``[m]``, or ``[m, width]`` with -1 for padding."""
        inputs = []
        for name in self.names:
            values = columns[name][rows]
            known = np.where(values == PADDING, PADDING, self.original[name][values])
            inputs.append(known if known.ndim == 2 else known[:, None])
        ids = cross_ids_numpy(inputs, self.name, self.buckets)
        return ids if any(columns[name].ndim == 2 for name in self.names) else ids[:, 0]


AnyField = Union[Field, ServedCross]


class Sums(NamedTuple):
    """Sums by id, float64 ``[size]`` each.

    Attributes:
        rows: Rows, or shares of them.
        gradient: Label minus probability.
        bound: Probability times its complement, weighted by shares: the Hessian's sums of rows, which bound it.
        hessian: The same weighted by squared shares: the Hessian's diagonal. Without several ids a row, ``bound``.
    """

    rows: Array
    gradient: Array
    bound: Array
    hessian: Array


def sums(field: AnyField, columns: Mapping[str, Array], rows: slice, residual: Array, curvature: Array) -> Sums:
    """Counts, gradients and Hessians by id over rows; a row with several ids counts for each in equal shares.

    Args:
        field: The field.
        columns: The columns.
        rows: Which rows, as a slice of step 1 or more.
        residual: float64 ``[m]``, of these rows.
        curvature: float64 ``[m]``, of these rows.
    """
    out = Sums(*(np.zeros(field.size) for _ in range(4)))
    for part, place in chunks(rows):
        ids = field.ids(columns, part)
        if ids.ndim == 1:
            counted = np.bincount(ids, minlength=field.size)
            curved = np.bincount(ids, curvature[place], field.size)
            gradient, squared = np.bincount(ids, residual[place], field.size), curved
        else:
            valid = ids >= 0
            lengths = valid.sum(1)
            flat = ids[valid]
            row = np.repeat(np.arange(len(ids)), lengths)
            share = (1.0 / np.maximum(lengths, 1))[row]
            counted = np.bincount(flat, share, field.size)
            curved = np.bincount(flat, share * curvature[place][row], field.size)
            gradient = np.bincount(flat, share * residual[place][row], field.size)
            squared = np.bincount(flat, share * share * curvature[place][row], field.size)
        for total, some in zip(out, (counted, gradient, curved, squared)):
            total += some
    return out


def add_logits(field: AnyField, columns: Mapping[str, Array], rows: slice, table: Array, logits: Array) -> None:
    """Adds the mean of a weight table over each row's ids to the rows' logits, in place.

    Args:
        field: The field.
        columns: The columns.
        rows: Which rows.
        table: float64 ``[size]``.
        logits: ``[m]``, of these rows.
    """
    padded = np.append(table, 0.0)
    for part, place in chunks(rows):
        ids = field.ids(columns, part)
        if ids.ndim == 1:
            logits[place] += table[ids]
        else:
            logits[place] += padded[ids].sum(1) / np.maximum((ids >= 0).sum(1), 1)


def chunks(rows: slice) -> list[tuple[slice, slice]]:
    """Parts of a slice, and where each lies among its rows."""
    step = rows.step or 1
    count = max(0, -(-(rows.stop - rows.start) // step))
    out = []
    for begin in range(0, count, CHUNK):
        end = min(begin + CHUNK, count)
        out.append((slice(rows.start + begin * step, min(rows.start + end * step, rows.stop), step), slice(begin, end)))
    return out
