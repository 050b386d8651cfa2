"""Reads exposure records, of any number, into one row per unit."""

from __future__ import annotations

import collections
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json

from crossrec.components.errors import DataError

_BLOCK_BYTES = 16 * 2**20
# Rows of partial results that are merged into one per unit.
_MERGE_ROWS = 4_000_000
# Clients do not read a changed definition at the same moment.
_SETTLING_SECONDS = 60.0
_SCHEMA = pa.schema(
    [
        ("experiment", pa.string()),
        ("arm", pa.string()),
        ("unit", pa.string()),
        ("time", pa.float64()),
        ("allocation", pa.string()),
        ("model_version", pa.int64()),
        ("fallback", pa.bool_()),
        ("error", pa.string()),
        ("dropped", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Period:
    """Which time is looked at, in unix seconds: from `begin` to before `end`."""

    begin: float = -np.inf
    end: float = np.inf


@dataclass
class Notes:
    """What happened while reading.

    Attributes:
        lines: Records of the experiment.
        cut: Files whose last line was cut off.
        unreadable: Lines that are no record.
        dropped: Records that the writers lost.
        before: Records under other shares than the last ones, by allocation.
        mixed: Units that were seen in several arms under the last shares.
        overlapping: Allocations that were still in use when the last one already was.
        answers: Records by arm and by who answered: a version, "fallback" or an error.
        begins: Unix seconds of the first of these records.
    """

    lines: int = 0
    cut: int = 0
    unreadable: int = 0
    dropped: int = 0
    mixed: int = 0
    before: dict[str, int] = field(default_factory=dict)
    overlapping: list[str] = field(default_factory=list)
    answers: dict[str, dict[str, int]] = field(default_factory=dict)
    begins: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Exposures:
    """The units of one experiment under its last shares, ordered by first exposure.

    Attributes:
        experiment: Its name.
        shares: Share by arm, the control first.
        keys: uint64 [units], hashes of the unit ids.
        arms: int [units], number of each unit's arm in `shares`.
        times: float64 [units], unix seconds of the first exposure.
        notes: What happened while reading.
    """

    experiment: str
    shares: dict[str, float]
    keys: Any
    arms: Any
    times: Any
    notes: Notes


def unit_keys(units: Any) -> Any:
    """Hash unit ids to 64 bits, so that memory does not hold them: among 10 million, two clash with odds of 3e-6.

    Args:
        units: Array of str.

    Returns:
        uint64 array of the same length.
    """
    return pd.util.hash_array(np.asarray(units, dtype=object), categorize=True)


def read_exposures(folder: str, experiment: str | None = None, period: Period = Period()) -> Exposures:  # noqa: B008
    """Read the records of an experiment.

    Args:
        folder: Folder of .jsonl and .jsonl.gz files, or one such file.
        experiment: Name of the experiment; None where the folder holds one only.
        period: Records of other times are left out.

    Returns:
        The units that were exposed under the experiment's last shares.

    Raises:
        DataError: There are no records, or of several experiments where none is named.
    """
    gathered = _Gathered(experiment, period)
    for path in _files(folder):
        for block in _blocks(path, gathered.notes):
            gathered.add(_table(block, gathered.notes))
    return gathered.result(folder)


class _Gathered:
    """Partial results: the first time of each unit in each arm of each allocation."""

    def __init__(self, experiment: str | None, period: Period) -> None:
        self.notes = Notes()
        self._experiment = experiment
        self._period = period
        self._groups: dict[tuple[str, str, str], int] = {}
        self._answers: collections.Counter[tuple[int, str]] = collections.Counter()
        self._lines: collections.Counter[int] = collections.Counter()
        self._first: dict[tuple[int, str], float] = {}
        self._last: dict[int, float] = {}
        self._parts: list[pd.DataFrame] = []
        self._rows = 0

    def add(self, table: Any) -> None:
        self.notes.dropped += int(pa.compute.sum(table["dropped"]).as_py() or 0)
        frame = table.drop(["dropped"]).to_pandas(strings_to_categorical=True)
        whole = frame[["experiment", "arm", "unit", "time", "allocation"]].notna().all(axis=1)
        self.notes.unreadable += int((~whole & table["dropped"].is_null().to_pandas()).sum())
        chosen = whole & (frame["time"] >= self._period.begin) & (frame["time"] < self._period.end)
        if self._experiment is not None:
            chosen &= frame["experiment"] == self._experiment
        frame = frame[chosen]
        if not len(frame):
            return
        names = ["experiment", "allocation", "arm"]
        codes = frame.groupby(names, observed=True, sort=False).ngroup().to_numpy()
        _, first = np.unique(codes, return_index=True)
        own = [self._groups.setdefault(tuple(frame[names].iloc[row]), len(self._groups)) for row in first]
        groups = np.array(own)[codes]
        units = frame["unit"].cat
        keys = unit_keys(units.categories)[units.codes.to_numpy()]
        part = pd.DataFrame({"group": groups, "unit": keys, "time": frame["time"].to_numpy()})
        self._note(frame, groups)
        self._parts.append(_first_times(part))
        self._rows += len(self._parts[-1])
        if self._rows > _MERGE_ROWS:
            self._merge()

    def _note(self, frame: pd.DataFrame, groups: Any) -> None:
        answer = frame["model_version"].fillna(0).astype("int64").astype(str)
        answer = answer.mask(frame["fallback"].fillna(False).astype(bool), "fallback")
        error = frame["error"].astype(object)
        answer = answer.mask(error.notna() & (error != ""), error)
        found = frame["time"].groupby([groups, answer.to_numpy()]).agg(["size", "min", "max"])
        for (group, who), size, first, last in found.itertuples():
            self._answers[group, who] += size
            self._lines[group] += size
            self._first[group, who] = min(first, self._first.get((group, who), np.inf))
            self._last[group] = max(last, self._last.get(group, -np.inf))

    def _merge(self) -> None:
        merged = _first_times(pd.concat(self._parts))
        self._parts, self._rows = [merged], 0

    def result(self, folder: str) -> Exposures:
        experiments = sorted({name for name, _, _ in self._groups})
        if not experiments:
            named = "" if self._experiment is None else f" of the experiment {self._experiment!r}"
            problem = f"{folder} holds no record{named} of that time"
            raise DataError("--exposures", problem, "Name another folder, experiment or time.")
        if len(experiments) > 1:
            raise DataError(
                "--experiment", f"{folder} holds {len(experiments)}: {', '.join(experiments)}", "Name one of them."
            )
        self._merge()
        frame = self._parts[0]
        allocation = self._latest(frame)
        shares = parse_allocation(allocation)
        numbers = {
            group: list(shares).index(arm) for (_, found, arm), group in self._groups.items() if found == allocation
        }
        frame = frame[frame["group"].isin(list(numbers))]
        several = frame.duplicated("unit", keep=False)
        self.notes.mixed = int(frame.loc[several, "unit"].nunique())
        frame = frame[~several].sort_values(["time", "unit"])
        arms = frame["group"].map(numbers).to_numpy(dtype=np.int64)
        return Exposures(experiments[0], shares, frame["unit"].to_numpy(), arms, frame["time"].to_numpy(), self.notes)

    def _latest(self, frame: pd.DataFrame) -> str:
        notes = self.notes
        begins = frame.groupby("group")["time"].min()
        lines: collections.Counter[str] = collections.Counter()
        last: dict[str, float] = {}
        begin: dict[str, float] = {}
        for (_, allocation, _), group in self._groups.items():
            lines[allocation] += self._lines[group]
            last[allocation] = max(self._last[group], last.get(allocation, -np.inf))
            begin[allocation] = min(begins[group], begin.get(allocation, np.inf))
        latest = max(last, key=lambda one: last[one])
        notes.lines = sum(lines.values())
        notes.before = {one: count for one, count in lines.items() if one != latest}
        notes.overlapping = [one for one in notes.before if last[one] > begin[latest] + _SETTLING_SECONDS]
        for (_, allocation, arm), group in self._groups.items():
            if allocation == latest:
                notes.answers[arm] = {who: count for (of, who), count in sorted(self._answers.items()) if of == group}
                notes.begins[arm] = {who: first for (of, who), first in self._first.items() if of == group}
        return latest


def parse_allocation(text: str) -> dict[str, float]:
    """Read the shares from a record.

    Args:
        text: ``arm=share,arm=share;salt``.

    Returns:
        Share by arm, the control first.

    Raises:
        DataError: It is no such text.
    """
    try:
        pairs = [pair.split("=") for pair in text.partition(";")[0].split(",")]
        shares = {arm: float(share) for arm, share in pairs}
    except ValueError as error:
        raise DataError(
            "allocation", f"{text!r} is no list of shares", "Write it as 'stable=0.8,canary=0.2;salt'."
        ) from error
    return shares


def _first_times(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.groupby(["unit", "group"], as_index=False, sort=False)["time"].min()


def _files(folder: str) -> list[Path]:
    path = Path(folder)
    if path.is_file():
        return [path]
    files = sorted([*path.glob("*.jsonl"), *path.glob("*.jsonl.gz")])
    if not files:
        raise DataError("--exposures", f"{folder} is no folder with .jsonl files", "Name the folder of the records.")
    return files


def _blocks(path: Path, notes: Notes) -> Iterator[bytes]:
    """Cut a file into blocks of whole lines; a last line without its end is left out."""
    rest = b""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        while True:
            data = file.read(_BLOCK_BYTES)
            if not data:
                break
            end = data.rfind(b"\n") + 1
            if end:
                yield rest + data[:end]
                rest = data[end:]
            else:
                rest += data
    notes.cut += bool(rest)


def _table(block: bytes, notes: Notes) -> Any:
    if not block.strip():
        return _SCHEMA.empty_table()
    parse = pa.json.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="ignore")
    read = pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        return pa.json.read_json(io.BytesIO(block), read, parse)
    except pa.ArrowInvalid:
        rows = [_row(line, notes) for line in block.splitlines() if line.strip()]
        return pa.Table.from_pylist([row for row in rows if row is not None], _SCHEMA)


def _row(line: bytes, notes: Notes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
        known = {name: row.get(name) for name in _SCHEMA.names}
        pa.Table.from_pylist([known], _SCHEMA)
    except (ValueError, TypeError, AttributeError, pa.ArrowException):
        notes.unreadable += 1
        return None
    return known
