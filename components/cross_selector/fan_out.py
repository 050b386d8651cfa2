"""Scoring of many candidates by many workers: candidates are a PCollection, the sample lies in files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import apache_beam as beam
import numpy as np
from tfx.dsl.io import fileio

from crossrec.components.cross_selector.candidates import Names, search_field
from crossrec.components.cross_selector.data import Array, Sample
from crossrec.components.cross_selector.evaluate import Given, Worth, users_in_selection, worth
from crossrec.components.cross_selector.sample import MakePipeline, read_sample
from crossrec.components.cross_selector.significance import Gain

_CANDIDATES_OF_A_BATCH = 16


@dataclass
class BeamScreen:
    """Scores candidates on Beam; a Screen of the search.

    Attributes:
        make_pipeline: Makes a Beam pipeline.
        sample: Directory of the sample.
        temporary: Directory for what passes between the search and the workers.
        min_count: Rows that an id needs for a weight.
    """

    make_pipeline: MakePipeline
    sample: str
    temporary: str
    min_count: float
    calls: int = 0

    def __call__(self, names: Sequence[Names], given: Sequence[Given], every: int) -> list[Worth]:
        """What each candidate is worth on each ``every``-th row."""
        self.calls += 1
        directory = f"{self.temporary}/screen-{self.calls:03d}"
        fileio.makedirs(directory)
        _write_given(given, f"{directory}/given.npz")
        batches = [
            (start, list(names[start : start + _CANDIDATES_OF_A_BATCH]))
            for start in range(0, len(names), _CANDIDATES_OF_A_BATCH)
        ]
        with self.make_pipeline() as pipeline:
            (
                pipeline
                | "Candidates" >> beam.Create(batches)
                | "Spread" >> beam.Reshuffle()
                | "Score" >> beam.ParDo(_Score(self.sample, f"{directory}/given.npz", self.min_count, every))
                | "Write" >> beam.io.WriteToText(f"{directory}/worth", file_name_suffix=".jsonl")
            )
        _read_given.cache_clear()
        scored: dict[int, Worth] = {}
        for path in fileio.glob(f"{directory}/worth*.jsonl"):
            with fileio.open(path, "r") as file:
                for line in file.read().splitlines():
                    number, value = json.loads(line)
                    by_task = tuple(value.pop("by_task"))
                    scored[number] = Worth(**{**value, "gain": Gain(**value["gain"]), "by_task": by_task})
        fileio.rmtree(directory)
        return [scored[number] for number in range(len(names))]


class _Score(beam.DoFn):
    """Batches of candidates to lines of JSON: a candidate's number and what it is worth."""

    def __init__(self, sample: str, given: str, min_count: float, every: int):
        self._sample, self._given, self._min_count, self._every = sample, given, min_count, every

    def setup(self) -> None:
        """Opens the sample, and what was chosen so far."""
        self._opened = read_sample(self._sample)
        self._tasks = _read_given(self._given, self._sample)
        self._users = users_in_selection(self._opened, self._every)

    def process(self, batch: tuple[int, list[Any]]) -> Iterator[str]:
        """Yields a line for each candidate."""
        for number, names in enumerate(batch[1], batch[0]):
            field = search_field(self._opened, tuple(names))
            value = worth(field, self._tasks, self._users, self._min_count, self._every)
            yield json.dumps([number, asdict(value)])


def _write_given(given: Sequence[Given], path: str) -> None:
    arrays: dict[str, Array] = {}
    for number, one in enumerate(given):
        arrays |= {
            f"{number}/residual": one.residual,
            f"{number}/curvature": one.curvature,
            f"{number}/logits": one.logits,
        }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with fileio.open(path, "wb") as file:
        file.write(buffer.getvalue())


@lru_cache(maxsize=1)
def _read_given(path: str, sample: str) -> list[Given]:
    opened: Sample = read_sample(sample)
    with fileio.open(path, "rb") as file, np.load(io.BytesIO(file.read())) as arrays:
        return [
            Given(task, arrays[f"{number}/residual"], arrays[f"{number}/curvature"], arrays[f"{number}/logits"])
            for number, task in enumerate(opened.tasks)
        ]
