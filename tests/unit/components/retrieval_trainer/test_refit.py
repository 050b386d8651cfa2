"""Towers that are trained once more, on the validation split too, are those that are served."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP, USER, label_key
from crossrec.components.modeling.inputs import TrainingData
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.train import load, save, train
from tests.unit.components.records import write_records
from tests.unit.components.small_models import ITEMS, make_query, make_schema, make_table

SCHEMA, TABLE = make_schema(), make_table()
LATE_ITEM = 7


def make_rows(count, start, items, seed):
    rng = np.random.default_rng(seed)
    query = {name: values.numpy() for name, values in make_query(count, seed).items()}
    rows = []
    for n in range(count):
        row = {name: values[n].tolist() for name, values in query.items()}
        row |= {USER: int(rng.integers(0, 5)), TIMESTAMP: start + n * 3600, ITEM_ROW: int(rng.choice(items))}
        rows.append({**row, label_key("clicked"): float(n % 3 > 0)})
    return rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("refit")
    early = [item for item in range(ITEMS) if item != LATE_ITEM]
    patterns = {
        "train": write_records(root / "train", make_rows(120, 0, early, 1)),
        # In validation nothing but one item is bought, which training never had.
        "validation": write_records(root / "validation", make_rows(40, 120 * 3600, [LATE_ITEM], 2)),
    }
    spec = {
        feature.name: tf.io.FixedLenFeature([feature.width], tf.float32 if feature.kind == "dense" else tf.int64)
        for feature in SCHEMA.side("query")
    }
    spec |= {name: tf.io.FixedLenFeature([1], tf.int64) for name in (USER, TIMESTAMP, ITEM_ROW)}
    spec[label_key("clicked")] = tf.io.FixedLenFeature([1], tf.float32)
    config = RetrievalConfig(
        query={"features": ["user", "recent_items"], "hidden_layers": []},
        item={"features": ["item_id"], "hidden_layers": []},
        label="clicked",
        normalise=False,
        loss={"negatives": "catalogue", "temperature": 1.0},
        popularity={"half_life_days": 1},
        requests={},
        refit=True,
        training={"epochs": 2, "batch_size": 16, "patience": 0},
    )
    found = train(SCHEMA, TABLE, config, TrainingData(patterns, spec), str(root / "checkpoints"))
    save(str(root / "model"), found, config)
    return found, str(root / "model")


def best_items(model):
    """The first item for some queries, as the index would order them."""
    scores = model.embed_queries(make_query(9, seed=3)).numpy() @ model.embed_catalogue()[:-1].T
    return scores.argmax(1)


def test_only_the_served_towers_have_seen_validation(trained):
    found, _ = trained
    assert (best_items(found.refitted) == LATE_ITEM).all()
    assert (best_items(found.model) != LATE_ITEM).all()


def test_both_come_back_from_their_files(trained):
    found, directory = trained
    for model, served in ((found.model, False), (found.refitted, True)):
        again = load(directory, SCHEMA, TABLE, served)
        np.testing.assert_array_equal(again.embed_catalogue(), model.embed_catalogue())
        query = make_query(4, seed=8)
        np.testing.assert_array_equal(again.embed_queries(query), model.embed_queries(query))
