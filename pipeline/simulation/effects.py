"""Evaluating planted crosses on rows: the ground truth for tests of cross selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .errors import SimulationError
from .output import INTERACTIONS
from .planted import CrossInput, bucket_codes, effect_table, hour_of_day
from .truth import Truth

# A pyarrow table, a pandas frame, or a dictionary of arrays: anything whose columns are read by name.
Frame = Union[pa.Table, Mapping[str, Any]]


def _column(frame: Frame, name: str) -> pa.Array:
    try:
        column = frame[name]
    except KeyError as error:
        raise SimulationError(
            f"column = {name!r}: is missing from the rows; join the items to the interactions (`load_rows` does)"
        ) from error
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks()
    return column if isinstance(column, pa.Array) else pa.array(column)


def _level_codes(values: pa.Array, levels: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.asarray(
        pc.fill_null(pc.index_in(values.cast(pa.string()), value_set=pa.array(levels)), -1), dtype=np.int64
    )


def input_codes(axis: CrossInput, frame: Frame) -> npt.NDArray[np.int64]:
    """Return the codes of one input of a planted cross.

    Args:
        axis: the input.
        frame: n rows.

    Returns:
        Codes, int64 [n], or [n, k] padded with -1 for a multi-valued input; -1 = missing.
    """
    column = _column(frame, axis.column)
    if axis.multi_valued:
        lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0), dtype=np.int64)
        codes = np.full((len(column), max(1, int(lengths.max(initial=0)))), -1, dtype=np.int64)
        codes[np.arange(codes.shape[1])[None, :] < lengths[:, None]] = _level_codes(column.flatten(), axis.levels)
        return codes
    if axis.part == "hour":
        times = np.asarray(pc.fill_null(column, 0), dtype=np.int64)
        hours = np.where(times == 0, np.nan, hour_of_day(times))
        return bucket_codes(hours, axis.boundaries)
    if axis.boundaries:
        numbers = np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan), dtype=np.float64)
        return bucket_codes(numbers, axis.boundaries)
    return _level_codes(column, axis.levels)


def planted_effect(truth: Truth, name: str, frame: Frame) -> npt.NDArray[np.float64]:
    """Return what a planted cross adds to the logit of its target, row by row.

    Args:
        truth: the simulation's truth.
        name: name of the cross.
        frame: n rows with the cross's columns: a pyarrow table, a pandas frame or a dictionary of arrays.

    Returns:
        Effects in logits, float64 [n]; 0 where an input is missing.

    Raises:
        SimulationError: the cross was not planted, or a column is missing.
    """
    cross = truth.cross(name)
    codes = tuple(input_codes(axis, frame) for axis in cross.inputs)
    return effect_table(cross, truth.seed).lookup(codes)


def load_rows(folder: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a simulation's interactions joined with the columns of their items; for Parquet simulations.

    Args:
        folder: the simulation's folder.
        columns: the columns to read, of interactions or items; by default all.

    Returns:
        One row per impression, in the order of time. It holds all rows in memory: meant for small simulations.

    Raises:
        SimulationError: there are no Parquet files.
    """
    folder = Path(folder)
    parts = sorted((folder / INTERACTIONS).glob("part-*.parquet"))
    if not parts:
        raise SimulationError(
            f"{folder / INTERACTIONS}: holds no part-*.parquet; give the folder of a simulation in Parquet format"
        )
    items = pq.read_table(folder / "items.parquet")
    own = pq.read_schema(parts[0]).names
    wanted = list(columns) if columns is not None else own + [name for name in items.column_names if name not in own]
    unknown = [name for name in wanted if name not in own and name not in items.column_names]
    if unknown:
        raise SimulationError(f"columns = {unknown!r}: neither interactions nor items have them")
    read = sorted({name for name in wanted if name in own} | {"item_id"}, key=own.index)
    rows = pa.concat_tables([pq.read_table(part, columns=read) for part in parts])
    place = pc.index_in(rows["item_id"], value_set=items["item_id"].combine_chunks())
    for name in wanted:
        if name not in own:
            rows = rows.append_column(name, items[name].take(place))
    return rows.select(wanted)
