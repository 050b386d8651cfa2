"""Adds outcomes up per exposed unit, from files of any size."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from crossrec.components.errors import DataError
from crossrec.pipeline.cli.experiment_exposures import unit_keys
from crossrec.serving.experiments.analysis import MetricValues

_CHUNK_ROWS = 500_000
ROWS = "rows"
_METRIC = re.compile(r"(?P<column>[^:/]+)(?:(?P<any>:any)|/(?P<below>[^:/]+))?")


@dataclass(frozen=True)
class Metric:
    """One metric of the outcomes.

    Attributes:
        name: As it was written.
        column: Column that is added up per unit; "rows" counts the rows.
        any: Whether a unit's value is 1 where that sum is above zero, and else 0.
        below: Column of the denominator of a ratio.
    """

    name: str
    column: str
    any: bool = False
    below: str | None = None


@dataclass(frozen=True)
class OutcomeFiles:
    """Where outcomes are, and what their columns are called.

    Attributes:
        paths: Files: .csv, .parquet or .jsonl; a folder stands for all of them in it.
        unit_column: The unit's id.
        time_column: When it happened: unix seconds, or ISO-8601 text (UTC unless it says otherwise).
    """

    paths: tuple[str, ...]
    unit_column: str
    time_column: str


@dataclass(frozen=True)
class Windows:
    """Which outcomes of a unit count, in seconds from its first exposure.

    Attributes:
        after: They count from the exposure to so long after it.
        before: The covariate counts so long before it.
    """

    after: float
    before: float


class Sums:
    """Sums of columns per unit.

    Attributes:
        rows: Rows read.
        matched: Rows of exposed units within a window.
        last: Time of the latest row, in unix seconds.
        missing: Missing values that counted as zero, by column.

    Args:
        keys: uint64 [units], hashes of the unit ids.
        begins: float64 [units], unix seconds of the first exposures.
        windows: What counts.
    """

    def __init__(self, keys: Any, begins: Any, windows: Windows) -> None:
        self._order = np.argsort(keys)
        self._keys = keys[self._order]
        self._begins = begins
        self._windows = windows
        self._sums: dict[tuple[str, bool], Any] = {}
        self.rows = 0
        self.matched = 0
        self.last = -np.inf
        self.missing: dict[str, int] = {}

    def after(self, column: str) -> Any:
        """Return a column's sum after the exposure, float64 [units]."""
        return self._sums.setdefault((column, True), np.zeros(len(self._keys)))

    def before(self, column: str) -> Any:
        """Return a column's sum before the exposure, float64 [units]."""
        return self._sums.setdefault((column, False), np.zeros(len(self._keys)))

    def add(self, keys: Any, times: Any, columns: dict[str, Any], covariate: str | None) -> None:
        """Add rows.

        Args:
            keys: uint64 [rows].
            times: float64 [rows], unix seconds.
            columns: float64 [rows] by column name.
            covariate: Column that is also added up before the exposure.
        """
        self.rows += len(keys)
        if not len(keys) or not len(self._keys):
            return
        self.last = max(self.last, float(times.max()))
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        known = self._keys[places] == keys
        units = self._order[places]
        since = times - self._begins[units]
        inside = known & (since >= 0) & (since < self._windows.after)
        self.matched += int(inside.sum())
        for name, values in columns.items():
            np.add.at(self.after(name), units[inside], values[inside])
        if covariate is not None:
            earlier = known & (since < 0) & (since >= -self._windows.before)
            np.add.at(self.before(covariate), units[earlier], columns[covariate][earlier])


def parse_metric(text: str) -> Metric:
    """Read a metric.

    Args:
        text: ``COLUMN`` (sum per unit), ``COLUMN:any`` (whether above zero) or ``COLUMN/COLUMN`` (ratio of sums).

    Returns:
        The metric.

    Raises:
        DataError: It is none of these.
    """
    match = _METRIC.fullmatch(text)
    if match is None:
        raise DataError("--metric", f"{text!r} is no metric", "Write COLUMN, COLUMN:any or COLUMN/COLUMN.")
    return Metric(text, match["column"], match["any"] is not None, match["below"])


def read_outcomes(files: OutcomeFiles, metrics: Sequence[Metric], sums: Sums, covariate: str | None) -> None:
    """Add up what the files hold.

    Args:
        files: The files.
        metrics: What is wanted of them.
        sums: Takes the sums.
        covariate: Column that is also added up before the exposure.

    Raises:
        DataError: A file or column is missing, or holds what is no number or time.
    """
    wanted = {column for one in metrics for column in (one.column, one.below) if column is not None}
    if covariate is not None:
        wanted.add(covariate)
    columns = sorted(wanted - {ROWS})
    for path in _paths(files.paths):
        for frame in _chunks(path, [files.unit_column, files.time_column, *columns]):
            frame = frame[frame[files.unit_column].notna()]  # nobody's outcomes belong to no arm
            values = {name: _numbers(path, frame, name, sums) for name in columns}
            if ROWS in wanted:
                values[ROWS] = np.ones(len(frame))
            times = _times(path, frame, files.time_column)
            sums.add(unit_keys(_units(frame[files.unit_column])), times, values, covariate)


def metric_values(metric: Metric, sums: Sums, chosen: Any, covariate: str | None) -> MetricValues:
    """Take a metric's values from the sums.

    Args:
        metric: The metric.
        sums: The sums.
        chosen: Numbers of the units, in the order that is wanted.
        covariate: Column of the covariate; a ratio goes without.

    Returns:
        A value per chosen unit.
    """
    values = sums.after(metric.column)[chosen]
    if metric.any:
        values = (values > 0).astype(np.float64)
    if metric.below is not None:
        return MetricValues(metric.name, values, sums.after(metric.below)[chosen])
    return MetricValues(metric.name, values, None, None if covariate is None else sums.before(covariate)[chosen])


def _paths(given: Sequence[str]) -> Iterator[Path]:
    for text in given:
        path = Path(text)
        if path.is_dir():
            found = sorted(one for ending in _READERS for one in path.glob(f"*{ending}"))
            if not found:
                raise DataError("--outcomes", f"{path} holds no {', '.join(_READERS)}", "Name another folder or files.")
            yield from found
        elif not path.is_file():
            raise DataError("--outcomes", f"{path} is not there", "Name a file that is.")
        elif path.suffix not in _READERS:
            raise DataError("--outcomes", f"{path} is none of {', '.join(_READERS)}", "Convert it to one of them.")
        else:
            yield path


def _chunks(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    try:
        for frame in _READERS[path.suffix](path, columns):
            absent = [name for name in columns if name not in frame.columns]
            if absent:
                raise _no_column(path, absent[0], list(frame.columns), columns)
            yield frame
    except (pa.ArrowException, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError("--outcomes", f"{path} cannot be read ({error})", "Write the file anew.") from error


def _csv(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    names = list(pd.read_csv(path, nrows=0).columns)
    absent = [name for name in columns if name not in names]
    if absent:
        raise _no_column(path, absent[0], names, columns)
    yield from pd.read_csv(path, usecols=columns, dtype={columns[0]: str}, chunksize=_CHUNK_ROWS, keep_default_na=True)


def _parquet(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    with pa.parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        absent = [name for name in columns if name not in names]
        if absent:
            raise _no_column(path, absent[0], names, columns)
        for batch in file.iter_batches(_CHUNK_ROWS, columns=list(dict.fromkeys(columns))):
            yield batch.to_pandas()


def _jsonl(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    try:
        yield from pd.read_json(path, lines=True, dtype=False, convert_dates=False, chunksize=_CHUNK_ROWS)
    except ValueError as error:
        raise DataError("--outcomes", f"{path} is no JSON by lines ({error})", "Write the file anew.") from error


_READERS = {".csv": _csv, ".parquet": _parquet, ".jsonl": _jsonl}


def _no_column(path: Path, name: str, found: list[str], columns: list[str]) -> DataError:
    flag = {0: "--unit-column", 1: "--time-column"}.get(columns.index(name), "--metric or --covariate")
    return DataError(flag, f"{path} has no column {name!r}", f"Its columns are {', '.join(map(str, found))}.")


def _units(column: pd.Series) -> Any:
    # A column of whole numbers with gaps arrives as floats.
    if pd.api.types.is_float_dtype(column) and (column % 1 == 0).all():
        column = column.astype(np.int64)
    return column.astype(str).to_numpy()


def _numbers(path: Path, frame: pd.DataFrame, name: str, sums: Sums) -> Any:
    column = frame[name]
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    missing = column.isna()
    wrong = (numbers.isna() & ~missing) | np.isinf(numbers)
    if wrong.any():
        value = column[wrong].iloc[0]
        problem = f"{path}, column {name}: {value!r} is no finite number"
        raise DataError("--metric", problem, "Write numbers, 0 and 1 for no and yes.")
    if missing.any():
        sums.missing[name] = sums.missing.get(name, 0) + int(missing.sum())
    return numbers.fillna(0.0).to_numpy()


def _times(path: Path, frame: pd.DataFrame, name: str) -> Any:
    column = frame[name]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        times = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        moments = pd.to_datetime(column, utc=True, errors="coerce")
        times = np.where(moments.isna(), np.nan, moments.astype("int64") / 1e9)
    wrong = ~np.isfinite(times)
    if wrong.any():
        value = column[wrong].iloc[0]
        problem = f"{path}, column {name}: {value!r} is no time"
        raise DataError("--time-column", problem, "Write unix seconds or ISO-8601 text.")
    return times
