"""The search's sample, made by Beam: transformed interactions joined with their items, as compact columns in files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from crossrec.components.cross_selector.data import Array, Rows, Sample, make_sample
from crossrec.components.errors import DataError
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import ITEM_ROW, POSITION, TIMESTAMP, USER, FeatureSchema, label_key

_BATCH = 4096
_ROWS_OF_A_PART = 500_000
_BYTES_OF_A_NUMBER = 8
_STEP = np.uint64(0x9E3779B97F4A7C15)
MakePipeline = Callable[[], beam.Pipeline]


@dataclass(frozen=True)
class SampleInputs:
    """Where the rows come from.

    Attributes:
        pattern: Files of the training split's transformed interactions.
        item_table: Directory of the item table.
        schema: All features.
        candidates: The features to keep, all of ids.
        spec: How to parse an interaction.
    """

    pattern: str
    item_table: str
    schema: FeatureSchema
    candidates: tuple[str, ...]
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """How many rows are kept.

    Attributes:
        rows: At most so many.
        memory_gb: And no more than fit into this beside what the search computes.
        negatives: Items drawn for each row where all labels are 1.
    """

    rows: int
    memory_gb: float
    negatives: int


def rows_in_memory(schema: FeatureSchema, candidates: tuple[str, ...], limits: Limits) -> int:
    """Rows that fit into the memory that may be used, at most those that may be looked at."""
    widths = sum(schema.feature(name).width * _kind(schema, name).itemsize for name in candidates)
    # Beside the columns: order and key of each row, and for the tasks labels, logits, gradients and what is
    # measured, some of them in two models at a time; columns lie twice in memory while they are put in order.
    return int(min(limits.rows, limits.memory_gb * 2**30 / (2 * widths + 16 * _BYTES_OF_A_NUMBER)))


def write_sample(make_pipeline: MakePipeline, inputs: SampleInputs, limits: Limits, directory: str) -> int:
    """Writes the sample's columns into a directory.

    A row is kept if a hash of its content falls below the share of rows that fit, so that the sample does not depend
    on the order of rows, or on how they are spread over files and workers. Where every label of every row is 1
    (purchases, say), each row is joined by some whose item is drawn by popularity, with labels 0.

    Args:
        make_pipeline: Makes the Beam pipeline.
        inputs: The rows.
        limits: How many are kept.
        directory: Where part files go.

    Returns:
        The rows in the files of the training split.
    """
    fileio.makedirs(directory)
    files = sorted(fileio.glob(inputs.pattern))
    most = rows_in_memory(inputs.schema, inputs.candidates, limits)
    totals = f"{directory}/totals.txt"
    with make_pipeline() as pipeline:
        numbered = pipeline | "Files" >> beam.Create(list(enumerate(files))) | "Spread" >> beam.Reshuffle()
        counted = (
            numbered
            | "Count" >> beam.Map(_count, dict(inputs.spec), inputs.schema.labels)
            | "Add" >> beam.CombineGlobally(_add).without_defaults()
        )
        counted | "WriteTotals" >> beam.Map(_as_text) | beam.io.WriteToText(totals, shard_name_template="")
        numbered | "Compact" >> beam.ParDo(
            _Compact(inputs, most, limits.negatives, directory), beam.pvalue.AsSingleton(counted)
        )
    with fileio.open(totals, "r") as file:
        return int(file.read().split()[0])


@lru_cache(maxsize=1)
def read_sample(directory: str) -> Sample:
    """The sample of a directory; the last one is kept, so that a worker reads it once."""
    parts: dict[str, list[Array]] = {}
    for path in sorted(fileio.glob(f"{directory}/part-*.npz")):
        with fileio.open(path, "rb") as file, np.load(io.BytesIO(file.read())) as arrays:
            for key in arrays.files:
                parts.setdefault(key, []).append(arrays[key])
    if not parts:
        raise DataError("crosses.auto", "the training split has no row", "Let the validation split begin later.")
    columns = {key: np.concatenate(parts.pop(key)) for key in list(parts)}
    named: dict[str, dict[str, Array]] = {"feature": {}, "label": {}, "nuisance": {}}
    for key, values in columns.items():
        kind, _, name = key.partition("/")
        if name:
            named[kind][name] = values
    return make_sample(
        Rows(
            named["feature"],
            named["label"],
            columns["time"],
            columns["user"],
            columns["key"],
            named["nuisance"],
        )
    )


def _kind(schema: FeatureSchema, name: str) -> np.dtype[Any]:
    return np.min_scalar_type(-max(schema.feature(name).cardinality, 2))


def batches(path: str, spec: Mapping[str, Any]) -> Iterator[dict[str, Array]]:
    """Parsed batches of the rows in a gzipped TFRecord file."""
    for records in tf.data.TFRecordDataset([path], compression_type="GZIP").batch(_BATCH):
        parsed = tf.io.parse_example(records, dict(spec))
        yield {name: values.numpy() for name, values in parsed.items()}


def _count(file: tuple[int, str], spec: Mapping[str, Any], labels: tuple[str, ...]) -> tuple[int, int]:
    """Rows of a file, and how many of them have a label that is not 1."""
    keys = [label_key(label) for label in labels]
    rows = negative = 0
    for batch in batches(file[1], {key: spec[key] for key in keys}):
        rows += len(batch[keys[0]])
        negative += int(np.any([batch[key][:, 0] <= 0 for key in keys], axis=0).sum())
    return rows, negative


def _add(counts: Any) -> tuple[int, int]:
    rows, negative = 0, 0
    for some, other in counts:
        rows, negative = rows + some, negative + other
    return rows, negative


def _as_text(counts: tuple[int, int]) -> str:
    return f"{counts[0]} {counts[1]}"


class _Compact(beam.DoFn):
    """One file of interactions to part files of columns."""

    def __init__(self, inputs: SampleInputs, most: int, negatives: int, directory: str):
        self._inputs, self._most, self._negatives, self._directory = inputs, most, negatives, directory

    def setup(self) -> None:
        """Reads the item table."""
        self._table = ItemTable.read(self._inputs.item_table)
        frequencies = self._table.frequencies.astype(np.float64)
        self._popularity = np.cumsum(frequencies) / max(frequencies.sum(), 1.0)

    def process(self, file: tuple[int, str], totals: tuple[int, int]) -> Iterator[None]:
        """Writes the file's part of the sample."""
        number, path = file
        rows, negative = totals
        copies = 0 if negative else self._negatives
        share = min(1.0, self._most / max(rows * (1 + copies), 1))
        kept: list[dict[str, Array]] = []
        part = 0
        for batch in batches(path, self._inputs.spec):
            keys = self._keys(batch)
            mask = keys < np.uint64(min(share * 2.0**64, 2.0**64 - 2048))
            if share >= 1.0:
                mask[:] = True
            kept.append(self._columns({name: values[mask] for name, values in batch.items()}, keys[mask], copies))
            if sum(len(columns["key"]) for columns in kept) >= _ROWS_OF_A_PART:
                self._write(kept, number, part)
                kept, part = [], part + 1
        if kept:
            self._write(kept, number, part)
        yield from ()

    def _keys(self, batch: Mapping[str, Array]) -> Array:
        """A hash of each row's values; not of its bytes, in which columns may stand in any order."""
        names = [USER, TIMESTAMP, ITEM_ROW, *(name for name in self._inputs.candidates if name in batch)]
        state = np.zeros(len(batch[USER]), np.uint64)
        with np.errstate(over="ignore"):
            for name in [*names, *([POSITION] if POSITION in batch else [])]:
                for column in batch[name].T:
                    state = _mix(state * _STEP + column.astype(np.int64).astype(np.uint64))
        return state

    def _columns(self, batch: Mapping[str, Array], keys: Array, copies: int) -> dict[str, Array]:
        schema = self._inputs.schema
        items = batch[ITEM_ROW][:, 0]
        rows = np.arange(len(items))
        drawn = np.zeros(len(items), bool)
        if copies:
            uniform = _uniform(np.repeat(keys, copies), np.tile(np.arange(1, copies + 1), len(keys)))
            negatives = np.searchsorted(self._popularity, uniform, side="right")
            items = np.concatenate([items, np.minimum(negatives, self._table.items - 1)])
            rows = np.concatenate([rows, np.repeat(rows, copies)])
            drawn = np.concatenate([drawn, np.ones(len(negatives), bool)])
        columns = {
            "key": keys.astype(np.int64)[rows],
            "time": batch[TIMESTAMP][rows, 0],
            "user": batch[USER][rows, 0],
        }
        if POSITION in batch:
            columns[f"nuisance/{POSITION}"] = batch[POSITION][rows, 0].astype(np.int32)
        for label in schema.labels:
            columns[f"label/{label}"] = np.where(drawn, 0, batch[label_key(label)][rows, 0] > 0).astype(np.int8)
        for name in self._inputs.candidates:
            feature = schema.feature(name)
            values = batch[name][rows] if feature.side == "query" else self._table.features[name][items]
            values = values.astype(_kind(schema, name))
            columns[f"feature/{name}"] = values if feature.multi_valued else values[:, 0]
        return columns

    def _write(self, kept: list[dict[str, Array]], number: int, part: int) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, **{key: np.concatenate([columns[key] for columns in kept]) for key in kept[0]})
        with fileio.open(f"{self._directory}/part-{number:05d}-{part:05d}.npz", "wb") as file:
            file.write(buffer.getvalue())


def _mix(state: Array) -> Array:
    """Scrambles uint64 numbers (the finaliser of SplitMix64: Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))


def _uniform(keys: Array, numbers: Array) -> Array:
    """A number in [0, 1) for each key and number."""
    with np.errstate(over="ignore"):
        state = _mix(keys + numbers.astype(np.uint64) * _STEP)
    return np.asarray((state >> np.uint64(11)).astype(np.float64) / 2.0**53)
