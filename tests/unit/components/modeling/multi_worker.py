"""A trainer of small models on files, as the components' executors are, whose workers can be made to die."""

import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf
from tfx.dsl.components.base import base_executor

from crossrec.components.features.schema import (
    CANDIDATE,
    ITEM_ROW,
    POSITION,
    RETRIEVAL_SCORE,
    RETRIEVED,
    TIMESTAMP,
    USER,
    WEIGHT,
    label_key,
)
from crossrec.components.modeling.checkpoints import checkpoint_directory
from crossrec.components.modeling.inputs import TrainingData
from crossrec.components.modeling.training import EpochEnd
from crossrec.components.ranking_trainer import train as ranking
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.ranking_trainer.model import RankingModel
from crossrec.components.retrieval_trainer import train as retrieval
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from tests.unit.components.records import write_records
from tests.unit.components.small_models import ITEMS, make_query, make_schema, make_table

SCHEMA, TABLE = make_schema(), make_table()
INTEGERS = (USER, TIMESTAMP, ITEM_ROW, POSITION, RETRIEVED, CANDIDATE)
NUMBERS = (label_key("clicked"), label_key("bought"), RETRIEVAL_SCORE, WEIGHT)
TRAINING = {"epochs": 3, "batch_size": 16, "patience": 0, "learning_rate": 0.003}
TOWERS = {
    "query": {"features": ["user", "likes", "recent_items"], "hidden_layers": [6]},
    "item": {"features": ["item_id", "tags", "price"]},
    "label": "clicked",
    "training": TRAINING,
}
CASES = {
    "rows": RetrievalConfig(**TOWERS, popularity={"half_life_days": 1}, refit=True),
    "requests": RetrievalConfig(**TOWERS, requests={}, loss={"negatives": "catalogue"}),
    "ranking": RankingConfig(
        features=["user", "likes", "age", "item_id", "price"],
        l2=0.01,
        table_l2=0.001,
        tasks=[{"name": "click", "label": "clicked"}, {"name": "buy", "label": "bought", "weight": 0.5}],
        interactions=[{"type": "dcn_v2", "cross_layers": 1, "deep": {"layers": [5], "batch_normalisation": True}}],
        training={**TRAINING, "averaging": {"decay": 0.8}, "schedule": {"type": "cosine", "warm_up_steps": 5}},
    ),
}
# 75 rows are 4 batches of 16 and one of 11, and 50 positives are 3 and one of 2.
ROWS, LATER_ROWS = 75, 30


def write_data(folder):
    """Files of training and validation."""
    write_records(folder / "train", make_rows(ROWS, 0, 1), 3)
    write_records(folder / "validation", make_rows(LATER_ROWS, ROWS * 1200, 2))


def make_rows(count, start, seed):
    rng = np.random.default_rng(seed)
    query = {name: values.numpy() for name, values in make_query(count, seed).items()}
    rows = []
    for n in range(count):
        row = {name: values[n].tolist() for name, values in query.items()}
        row |= {USER: int(rng.integers(0, 5)), TIMESTAMP: start + n * 1200, ITEM_ROW: int(rng.integers(0, ITEMS))}
        row |= {POSITION: int(rng.integers(0, 9)), RETRIEVED: 0, CANDIDATE: 1}
        row |= {RETRIEVAL_SCORE: float(rng.normal()), WEIGHT: float(rng.choice([0.5, 1.0]))}
        rows.append({**row, label_key("clicked"): float(n % 3 > 0), label_key("bought"): float(rng.random() < 0.3)})
    return rows


def read_data(folder):
    spec = {
        feature.name: tf.io.FixedLenFeature([feature.width], tf.float32 if feature.kind == "dense" else tf.int64)
        for feature in SCHEMA.side("query")
    }
    spec |= {name: tf.io.FixedLenFeature([1], tf.int64) for name in INTEGERS}
    spec |= {name: tf.io.FixedLenFeature([1], tf.float32) for name in NUMBERS}
    return TrainingData({split: f"{folder}/{split}/*" for split in ("train", "validation")}, spec)


def train(case, data, checkpoints):
    """The history of one case, and what the models that it gave say of all items for some queries."""
    config, query = CASES[case], make_query(9, seed=3)
    if isinstance(config, RankingConfig):
        model, history = ranking.train(SCHEMA, TABLE, config, data, checkpoints)
        rows = np.tile(np.arange(-1, ITEMS), (9, 1))
        scores = [model.probabilities(query, tf.constant(rows), tf.zeros(rows.shape)).numpy()]
    else:
        trained = retrieval.train(SCHEMA, TABLE, config, data, checkpoints)
        history, models = trained.history, [trained.model, *([trained.refitted] if trained.refitted else [])]
        scores = [model.embed_queries(query).numpy() @ model.embed_catalogue().T for model in models]
    return {
        "history": [[entry["loss"], entry["monitor"]] for entry in history],
        "scores": [found.tolist() for found in scores],
    }


class SmallTrainer(base_executor.BaseExecutor):
    """Trains the cases of its parameters, and writes what came of them."""

    def Do(self, input_dict, output_dict, exec_properties):
        data, scratch = read_data(input_dict["examples"][0].uri), Path(exec_properties["scratch"])
        index = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index", 0)
        found = {}
        with checkpoint_directory(exec_properties["checkpoint_root"], "small", ["identity"]) as checkpoints:
            with open(scratch / "starts", "a", encoding="utf-8") as file:
                file.write(f"{index} {len(list(Path(checkpoints).rglob('best-*/*.index')))}\n")
            for case in exec_properties["cases"]:
                with watched(scratch / f"{case}-{index}", exec_properties["dies"] == index, scratch / "died"):
                    found[case] = train(case, data, f"{checkpoints}/{case}")
            artifact = output_dict["model"][0]
            Path(artifact.uri, "found.json").write_text(json.dumps(found), encoding="utf-8")
            artifact.set_string_custom_property("written_by", str(index))


@contextmanager
def watched(losses, dies, marker):
    """Writes down the loss of each step; may kill this process in the second epoch of ranking, but once only.

    Args:
        losses: File of lines: folder of the checkpoints, epoch, step, loss.
        dies: Whether this is the process to kill, as a machine that goes away would.
        marker: File that says that it was.
    """
    go_on = EpochEnd.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        go_on(self, batch, logs)
        with open(losses, "a", encoding="utf-8") as file:
            file.write(f"{self._directory.name} {len(self.history)} {batch} {float(logs['loss'])}\n")
        second = isinstance(self.model, RankingModel) and len(self.history) == 1 and batch == 1
        if dies and second and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    EpochEnd.on_train_batch_end = on_train_batch_end
    try:
        yield
    finally:
        EpochEnd.on_train_batch_end = go_on
