"""Frappe_x1 for the ranking model: nine context fields of the query, the app as the item, whole batches in memory."""

import gzip
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.features.crosses.config import StatisticsCross
from crossrec.components.features.crosses.fitting import CrossFitter
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import (
    ITEM_ROW,
    TIMESTAMP,
    USER,
    WEIGHT,
    CrossOutput,
    FeatureOutput,
    FeatureSchema,
    label_key,
)

LABEL, ITEM = "label", "item"
CONTEXT = ("user", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")
FIELDS = (*CONTEXT, ITEM)
SPLITS = ("train", "valid", "test")
_COLUMNS = (LABEL, "user", ITEM, *CONTEXT[1:])
_EVALUATION_BATCH = 8192
# The rows have no time, and folds of users would leave a user's own history out of every row: so folds of rows,
# so many that a row sees almost all others, as later rows do.
_FOLDS = 64
CROSSES = (
    StatisticsCross(inputs=("user", ITEM), label=LABEL, smoothing=1.0, parts=_FOLDS, by="user"),
    StatisticsCross(inputs=(ITEM,), label=LABEL, smoothing=5.0, parts=_FOLDS, by="user"),
)
"""What training knows of the user with the app, and of the app."""

Array = np.ndarray[Any, Any]
Columns = dict[str, Array]


@dataclass(frozen=True)
class Frappe:
    """The data.

    Attributes:
        schema: Features and crosses; the crosses are fitted on ``train``.
        table: The apps.
        splits: By split ``{name: [n, 1]}``; the users of ``train`` are row numbers, by which folds are made.
    """

    schema: FeatureSchema
    table: ItemTable
    splits: dict[str, Columns]

    def epochs(self, batch_size: int, seed: int) -> tf.data.Dataset:
        """Batches of ``train``; each pass in an order of its own, the rest that fills no batch left out."""
        columns = {name: tf.constant(values) for name, values in self.splits["train"].items()}
        rows = len(self.splits["train"][ITEM_ROW])
        order = tf.data.Dataset.range(rows).shuffle(rows, seed=seed, reshuffle_each_iteration=True)
        return (
            order.batch(batch_size, drop_remainder=True)
            .map(lambda places: {name: tf.gather(values, places) for name, values in columns.items()})
            .prefetch(4)
        )

    def batches(self, split: str) -> list[dict[str, tf.Tensor]]:
        """The rows of a split, in order."""
        columns = self.splits[split]
        return [
            {name: tf.constant(values[start : start + _EVALUATION_BATCH]) for name, values in columns.items()}
            for start in range(0, len(columns[ITEM_ROW]), _EVALUATION_BATCH)
        ]

    def labels(self, split: str) -> Array:
        """The labels of a split, ``[n]``."""
        return self.splits[split][label_key(LABEL)][:, 0]


def find_data(folder: str | None) -> Path:
    """The folder ``frappe_x1`` below the given one, or below ``$CROSSREC_DATA``.

    Raises:
        FileNotFoundError: It is not there.
    """
    root = Path(folder or os.environ.get("CROSSREC_DATA") or ".")
    path = root / "frappe_x1"
    if not all((path / f"{split}.csv.gz").exists() for split in SPLITS):
        raise FileNotFoundError(
            f"--data: {path} does not hold {', '.join(f'{split}.csv.gz' for split in SPLITS)}. "
            "Name the folder that holds frappe_x1/, or set CROSSREC_DATA to it"
        )
    return path


def load(path: Path, rows: int | None = None) -> Frappe:
    """Reads the three splits and fits the crosses.

    Args:
        path: The folder ``frappe_x1``.
        rows: Rows of each split, the first; all if left out.
    """
    raw = {split: _read(path / f"{split}.csv.gz", rows) for split in SPLITS}
    ids = {name: np.unique(raw["train"][:, place]) for place, name in enumerate(_COLUMNS) if name != LABEL}
    splits = {split: _columns(values, ids) for split, values in raw.items()}
    splits["train"] |= {
        # Folds by the remainder: a run of rows would be near in the file, and so would be its fold.
        USER: np.random.default_rng(0).permutation(len(raw["train"]))[:, None],
        TIMESTAMP: np.zeros((len(raw["train"]), 1), np.int64),
    }
    apps = len(ids[ITEM])
    table = ItemTable(
        ids=np.array([str(app) for app in ids[ITEM]], object),
        features={ITEM: np.append(np.arange(1, apps + 1), 0)[:, None]},
        frequencies=np.ones(apps, np.int64),
        display={},
    )
    features = tuple(
        FeatureOutput(
            name=name,
            side="item" if name == ITEM else "query",
            kind="ids",
            width=1,
            # 0 is a value that training never saw.
            cardinality=len(ids[name]) + 1,
            multi_valued=False,
        )
        for name in FIELDS
    )
    crosses = tuple(
        CrossOutput(
            config=cross,
            side="both" if len(cross.inputs) > 1 else "item",
            kind="dense",
            width=len(cross.statistics),
        )
        for cross in CROSSES
    )
    schema = FeatureSchema(
        raw_query={}, raw_item={}, features=features, crosses=crosses, items=apps, item_column=ITEM, labels=(LABEL,)
    )
    fitter = CrossFitter(schema, table.features, LABEL)
    return Frappe(fitter.extract(fitter.add(fitter.create(), splits["train"])), table, splits)


def _read(path: Path, rows: int | None) -> Array:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        header = tuple(next(file).strip().split(","))
        if header != _COLUMNS:
            raise ValueError(f"{path.name}: columns are {header}, not {_COLUMNS}. Take the file of Frappe_x1")
        return np.loadtxt(file, np.int64, delimiter=",", max_rows=rows)


def _columns(values: Array, ids: dict[str, Array]) -> Columns:
    """Ids from 1 in each field, and the item's row; -1 is an unknown item, 0 any other unknown value."""
    out: Columns = {
        label_key(LABEL): values[:, :1].astype(np.float32),
        WEIGHT: np.ones((len(values), 1), np.float32),
    }
    for place, name in enumerate(_COLUMNS):
        if name != LABEL:
            found = np.minimum(np.searchsorted(ids[name], values[:, place]), len(ids[name]) - 1)
            known = ids[name][found] == values[:, place]
            column = np.where(known, found + 1, 0)[:, None]
            out |= {ITEM_ROW: column - 1} if name == ITEM else {name: column}
    return out
