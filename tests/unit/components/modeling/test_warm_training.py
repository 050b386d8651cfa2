"""What a warm start is for: the next day is learnt in less time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP, USER, label_key
from crossrec.components.modeling.inputs import TrainingData
from crossrec.components.modeling.warm_start import PreviousRelease, WarmStart
from crossrec.components.retrieval_trainer import train as retrieval
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from tests.unit.components.modeling.two_runs import USERS, Run, make_run, place
from tests.unit.components.records import write_records
from tests.unit.components.small_models import make_query

PEOPLE = [f"person {n}" for n in range(12)]
GOODS = [f"good {n:02}" for n in range(40)]


def make_days(root: Path, when: str, count: int) -> tuple[Run, TrainingData]:
    """A day on which everybody takes from three goods of their own, in the ids of that day."""
    rng = np.random.default_rng(len(when))
    users = list(rng.permutation(PEOPLE))
    goods = GOODS if when == "before" else sorted([*GOODS[:-1], "a new good"])
    USERS[when] = users
    run = make_run(root / when, when, (), goods)
    patterns = {}
    for split, rows in (("train", count), ("validation", 200)):
        query = {name: values.numpy() for name, values in make_query(rows, len(split)).items()}
        records = []
        for n in range(rows):
            person = int(rng.integers(len(PEOPLE)))
            row = {name: values[n].tolist() for name, values in query.items()}
            row["user"] = [place(users, PEOPLE[person])]
            row["recent_items"] = [-1, -1]
            good = GOODS[3 * person + int(rng.integers(3))]
            row |= {USER: person, TIMESTAMP: n * 3600, ITEM_ROW: goods.index(good)}
            records.append({**row, label_key("clicked"): 1.0})
        patterns[split] = write_records(run.root / split, records)
    spec = {
        feature.name: tf.io.FixedLenFeature([feature.width], tf.float32 if feature.kind == "dense" else tf.int64)
        for feature in run.schema.side("query")
    }
    spec |= {name: tf.io.FixedLenFeature([1], tf.int64) for name in (USER, TIMESTAMP, ITEM_ROW)}
    spec[label_key("clicked")] = tf.io.FixedLenFeature([1], tf.float32)
    return run, TrainingData(patterns, spec)


def test_one_epoch_of_the_next_day_is_better_from_a_warm_start(tmp_path, monkeypatch):
    monkeypatch.setitem(USERS, "before", [])
    monkeypatch.setitem(USERS, "now", [])

    def config(epochs: int) -> RetrievalConfig:
        return RetrievalConfig(
            query={"features": ["user"], "hidden_layers": [16]},
            item={"features": ["item_id"], "hidden_layers": [16]},
            label="clicked",
            dimension=8,
            embedding_dimension=8,
            requests={},
            training={"epochs": epochs, "batch_size": 64, "learning_rate": 0.01, "patience": 0},
        )

    before, first_day = make_days(tmp_path, "before", 1500)
    now, next_day = make_days(tmp_path, "now", 300)
    former = retrieval.train(before.schema, before.table, config(10), first_day, str(tmp_path / "checkpoints-1"))
    retrieval.save(str(tmp_path / "former"), former, config(10))
    places = {
        "retrieval_model": str(tmp_path / "former"),
        "cross_set": before.graphs,
        "item_table": str(before.root / "items"),
        "transform_graphs": before.graphs,
    }
    warm = WarmStart(PreviousRelease(version=1, epochs=1, artifacts=places), "retrieval_model", now.graphs)
    parts = (now.schema, now.table)
    cold_run = retrieval.train(*parts, config(1), next_day, str(tmp_path / "checkpoints-2"))
    warm_run = retrieval.train(*parts, config(9), next_day, str(tmp_path / "checkpoints-3"), warm)
    # Chance puts three goods of forty at an NDCG of some .2, the best possible order is 1.
    assert len(warm_run.history) == len(cold_run.history) == 1
    assert warm_run.history[0]["monitor"] > cold_run.history[0]["monitor"] + 0.2
    assert warm_run.history[0]["loss"] < cold_run.history[0]["loss"]
