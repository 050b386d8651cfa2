"""Frappe_x1 for the ranking model: nine context fields of the query, the app as the item, whole batches in memory."""

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
_DRAWS = range(3)
CROSSES = tuple(
    StatisticsCross(
        inputs=inputs, label=LABEL, smoothing=1.0 if inputs == ("user", ITEM) else 5.0, parts=_FOLDS, by="user"
    )
    for inputs in (("user", ITEM), (ITEM,), ("user",), (ITEM, "cost"), (ITEM, "daytime"), (ITEM, "country"))
)
"""What training knows of the user with the app, of each of them, and of the app in some contexts."""

Array = np.ndarray[Any, Any]
Columns = dict[str, Array]
Tensors = dict[str, tf.Tensor]


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

    def epochs(self, batch_size: int, seed: int, redrawn: bool = False) -> tf.data.Dataset:
        """Batches of ``train``; each pass in an order of its own, the rest that fills no batch left out.

        Args:
            batch_size: Rows of a batch.
            seed: Of the orders and of the drawn apps.
            redrawn: Whether each pass has new apps in the negatives, drawn from those that the user has no positive
                row with in ``train``.
        """
        columns = {name: tf.constant(values) for name, values in self.splits["train"].items()}
        rows = len(self.splits["train"][ITEM_ROW])
        order = tf.data.Dataset.range(rows).shuffle(rows, seed=seed, reshuffle_each_iteration=True)
        batches = order.batch(batch_size, drop_remainder=True).map(
            lambda places: {name: tf.gather(values, places) for name, values in columns.items()}
        )
        return (batches.map(self._redraw(seed)) if redrawn else batches).prefetch(4)

    def _redraw(self, seed: int) -> Callable[[Tensors], Tensors]:
        """Replaces the apps of a batch's negatives."""
        train, apps = self.splits["train"], self.table.items
        positive = np.zeros((self.schema.feature("user").cardinality, apps), bool)
        rows = self.labels("train") > 0
        positive[train["user"][rows, 0], train[ITEM_ROW][rows, 0]] = True
        used, generator = tf.constant(positive), tf.random.Generator.from_seed(seed)

        def redraw(batch: Tensors) -> Tensors:
            users, own = batch["user"][:, 0], batch[ITEM_ROW][:, 0]
            drawn = generator.uniform([len(_DRAWS), tf.shape(own)[0]], maxval=apps, dtype=tf.int64)
            # A user has used few of the apps: of some draws, one is new all but surely.
            for place in _DRAWS:
                fits = ~tf.gather_nd(used, tf.stack([users, drawn[place]], 1))
                own = tf.where(fits & (batch[label_key(LABEL)][:, 0] == 0.0), drawn[place], own)
            return {**batch, ITEM_ROW: own[:, None]}

        return redraw

    def batches(self, split: str) -> list[Tensors]:
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
        # The fold is the remainder of the number by the number of folds.
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
            side=_side(cross.inputs),
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


def _side(inputs: tuple[str, ...]) -> Literal["query", "item", "both"]:
    if ITEM not in inputs:
        return "query"
    return "both" if len(inputs) > 1 else "item"


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
