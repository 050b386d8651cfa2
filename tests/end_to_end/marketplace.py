"""A small marketplace, its spec, and the command line on them."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from crossrec.pipeline.spec.load import EXAMPLES

ROWS = 20_000
COMMAND = [sys.executable, "-m", "crossrec.pipeline.cli.main"]


def command(*arguments: object, seconds: float = 1800.0) -> subprocess.CompletedProcess[str]:
    """Run `crossrec` in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
    )


def here(capfd: pytest.CaptureFixture[str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `crossrec` in this process, which knows TensorFlow and Beam already and so takes seconds less."""
    from crossrec.pipeline.cli.main import main

    capfd.readouterr()
    code = main([*map(str, arguments)])
    out, error = capfd.readouterr()
    return subprocess.CompletedProcess(arguments, code, out, error)


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        data: Folder of the raw data.
        root: Root of the run.
        spec: The spec's file.
        version: The published version's directory.
        stdout: What the command wrote for the user.
        stderr: What it wrote to standard error.
        code: Its exit code.
    """

    data: Path
    root: Path
    spec: Path
    version: Path
    stdout: str
    stderr: str
    code: int

    @property
    def model(self) -> Path:
        """Directory of the model's versions."""
        return self.version.parent

    @cached_property
    def uris(self) -> Mapping[str, Mapping[str, str]]:
        """URI of each output by node and key, from ML Metadata, as the first execution made them."""
        from tests.end_to_end.lineage import Lineage

        return Lineage.read(self.root).first_outputs()


def make(folder: Path) -> Run:
    """Simulate a marketplace with holes in it, and run the whole pipeline once."""
    data, root = folder / "data", folder / "run"
    simulated = command("simulate", data, "--rows", ROWS, "--days", 40)
    assert simulated.returncode == 0, simulated.stderr
    make_holes(data)
    spec = write_spec(folder / "spec.yaml")
    ran = command("run", spec, "--data", data, "--root", root)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return Run(data, root, spec, root / "serving" / "recommender" / "1", ran.stdout, ran.stderr, ran.returncode)


def spec_content(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The marketplace's spec with short trainings; `changes` go in by dotted path, None takes a key out."""
    content = yaml.safe_load((EXAMPLES / "marketplace" / "spec.yaml").read_text(encoding="utf-8"))
    # Trained so little, the model need not be good.
    short = {
        "retrieval.training": {"epochs": 2, "learning_rate": 0.003},
        "ranking.training": {"epochs": 1, "patience": 0},
        "evaluation.thresholds": [{"metric": "end_to_end/ndcg@10", "minimum": 0}],
    }
    return change({**content}, {**short, **(changes or {})})


def change(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested mappings and lists with other values at dotted paths."""
    content = copy.deepcopy(content)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place: Any = content
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        if value is None:
            del place[last]
        else:
            place[int(last) if isinstance(place, list) else last] = value
    return content


def write_spec(path: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """Write the spec; see `spec_content`."""
    path.write_text(yaml.safe_dump(spec_content(changes), sort_keys=False), encoding="utf-8")
    return path


def make_holes(data: Path) -> None:
    """Take values out of the tables, of every kind that may be missing."""
    rng = np.random.default_rng(0)
    for file in sorted((data / "interactions").glob("*.parquet")):
        _rewrite(file, rng, {"user_segment": None, "device": "", "query": None, "interests": [], "price_max": np.nan})
    _rewrite(data / "items.parquet", rng, {"brand": None, "category": "", "tags": [], "price": np.nan})


def _rewrite(file: Path, rng: np.random.Generator, missing: Mapping[str, Any], share: float = 0.02) -> None:
    table = pq.read_table(file)
    for name, value in missing.items():
        place = table.schema.get_field_index(name)
        values = table.column(name).to_pylist()
        for row in np.flatnonzero(rng.random(len(values)) < share):
            values[row] = value
        table = table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))
    pq.write_table(table, file)


def read_interactions(data: Path) -> pd.DataFrame:
    """All interactions."""
    return pd.concat([pd.read_parquet(file) for file in sorted((data / "interactions").glob("*.parquet"))])


def lines_of(text: str, beginning: str) -> Sequence[str]:
    """The lines that begin so, without the space around them."""
    return [line.strip() for line in text.splitlines() if line.strip().startswith(beginning)]
