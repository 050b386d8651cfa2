"""Small tables, and real runs of the executors on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from tfx.types import artifact_utils, standard_artifacts

from crossrec.components.example_gen.config import DataConfig, RawColumn
from crossrec.components.example_gen.executor import InteractionsExampleGenExecutor, ItemsExampleGenExecutor

DAY = 86_400
START = 1_600_000_000


def make_config(**changes: Any) -> DataConfig:
    """A configuration of two CSV tables; `changes` are keyed by section."""
    sections: dict[str, Any] = {
        "interactions": {
            "path": "interactions.csv",
            "user": "user_id",
            "item": "item_id",
            "timestamp": "timestamp",
            "labels": ["clicked"],
        },
        "items": {"path": "items.csv", "item": "item_id", "separators": {"tags": "|"}},
        "split": {"validation": 0.2, "test": 0.2},
        "history": {"max_length": 3},
    }
    for section, change in changes.items():
        merge = isinstance(change, Mapping) and isinstance(sections.get(section), dict) and section != "split"
        sections[section] = {**sections[section], **change} if merge else change
    return DataConfig.model_validate(sections)


def interactions_frame(rows: int = 60, users: int = 6, items: int = 10, seed: int = 0) -> pd.DataFrame:
    """Random interactions with repeated moments and both labels."""
    random = np.random.default_rng(seed)
    clicked = random.integers(0, 2, rows)
    clicked[:2] = [0, 1]
    return pd.DataFrame(
        {
            "user_id": [f"u{number}" for number in random.integers(0, users, rows)],
            "item_id": [f"i{number}" for number in random.integers(0, items, rows)],
            "timestamp": START + random.integers(0, rows // 3, rows) * DAY,
            "clicked": clicked,
            "price": random.random(rows).round(3),
            "device": random.choice(["web", "app", ""], rows),
        }
    )


def items_frame(items: int = 10) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item_id": [f"i{number}" for number in range(items)],
            "title": [f"title {number}" for number in range(items)],
            "tags": ["|".join(["new", "red"][: number % 3]) for number in range(items)],
        }
    )


def write_tables(folder: Path, interactions: pd.DataFrame | None = None, items: pd.DataFrame | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (interactions_frame() if interactions is None else interactions).to_csv(folder / "interactions.csv", index=False)
    (items_frame() if items is None else items).to_csv(folder / "items.csv", index=False)


def run_items(
    config: DataConfig, data_dir: Path, out: Path, columns: Sequence[RawColumn] = (), **given: str
) -> standard_artifacts.Examples:
    examples = _artifact(out)
    properties = {**_properties(data_dir, config.items.model_dump_json(), columns), **given}
    ItemsExampleGenExecutor(_context(ItemsExampleGenExecutor)).Do({}, {"examples": [examples]}, properties)
    return examples


def run_interactions(
    config: DataConfig,
    data_dir: Path,
    out: Path,
    items: standard_artifacts.Examples,
    columns: Sequence[RawColumn] = (),
    **given: str,
) -> standard_artifacts.Examples:
    examples = _artifact(out)
    properties = {**_properties(data_dir, config.model_dump_json(), columns), **given}
    executor = InteractionsExampleGenExecutor(_context(InteractionsExampleGenExecutor))
    executor.Do({"items": [items]}, {"examples": [examples]}, properties)
    return examples


def read_rows(examples: standard_artifacts.Examples, split: str) -> list[dict[str, list[Any]]]:
    """Every record of a split: feature name to its values; features without values are left out."""
    rows = []
    folder = Path(artifact_utils.get_split_uri([examples], split))
    paths = sorted(str(path) for path in folder.iterdir())
    for record in tf.data.TFRecordDataset(paths, "GZIP").as_numpy_iterator():
        row: dict[str, list[Any]] = {}
        for name, feature in tf.train.Example.FromString(record).features.feature.items():
            kind = feature.WhichOneof("kind")
            if kind == "bytes_list":
                row[name] = [value.decode() for value in feature.bytes_list.value]
            elif kind is not None:
                row[name] = list(getattr(feature, kind).value)
        # The encoder orders features as it likes.
        rows.append(dict(sorted(row.items())))
    return rows


def _artifact(out: Path) -> standard_artifacts.Examples:
    examples = standard_artifacts.Examples()
    examples.uri = str(out)
    out.mkdir(parents=True)
    return examples


def _context(executor: Any) -> Any:
    return executor.Context(beam_pipeline_args=[])


def _properties(data_dir: Path, config: str, columns: Sequence[RawColumn]) -> dict[str, Any]:
    return {
        "data_dir": str(data_dir),
        "config": config,
        "columns": json.dumps([column.model_dump() for column in columns]),
        "input_fingerprint": "",
    }
