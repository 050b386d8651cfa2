"""A schema and a catalogue of a few made-up features, for models that need no analysis."""

import numpy as np
import tensorflow as tf

from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.crosses import HashedCross
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import (
    ITEM_ROW,
    POSITION,
    RETRIEVAL_SCORE,
    RETRIEVED,
    WEIGHT,
    add_crosses,
    build_schema,
    label_key,
)
from crossrec.components.modeling import runtime

# As the trainers do: AutoGraph would convert Keras's own code, for many seconds.
runtime.prepare()

ITEMS = 12
FEATURES = FeaturesConfig.model_validate(
    {
        "query": {
            "user": {"type": "categorical"},
            "likes": {"type": "categorical", "multi_valued": True, "max_length": 3},
            "limit": {"type": "numeric"},
            "age": {"type": "numeric"},
            "recent_items": {"type": "recent_items", "max_length": 2},
        },
        "item": {
            "item_id": {"type": "categorical"},
            "tags": {"type": "categorical", "multi_valued": True, "max_length": 2},
            "price": {"type": "numeric"},
        },
    }
)
CROSSES = (
    HashedCross(inputs=["user", "item_id"], buckets=100),
    HashedCross(inputs=["likes", "tags"], buckets=60),
    HashedCross(inputs=["user", "likes"], buckets=40),
)
CARDINALITIES = {"user": 9, "likes": 7, "recent_items": ITEMS, "item_id": ITEMS + 2, "tags": 6}


def make_schema():
    return add_crosses(build_schema(FEATURES, CARDINALITIES, ("item_id", ITEMS), ("clicked", "bought")), CROSSES)


def make_table(seed=0, frequencies=None):
    rng = np.random.default_rng(seed)
    ids = np.empty(ITEMS, object)
    ids[:] = [f"item {n:02}" for n in range(ITEMS)]
    return ItemTable(
        ids=ids,
        features={
            "item_id": np.append(np.arange(2, ITEMS + 2), 1)[:, None],
            "tags": np.concatenate([padded_ids(rng, ITEMS, 2, 6), [[-1, -1]]]),
            "price": rng.normal(size=(ITEMS + 1, 1)).astype(np.float32),
        },
        frequencies=rng.integers(1, 50, ITEMS) if frequencies is None else np.asarray(frequencies),
        display={},
    )


def padded_ids(rng, rows, width, cardinality):
    """Ids with padding at the end of each row, some rows all padding."""
    ids = rng.integers(0, cardinality, (rows, width))
    ids[np.arange(width)[None] >= rng.integers(0, width + 1, (rows, 1))] = -1
    return ids


def make_query(rows, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "user": tf.constant(rng.integers(0, 9, (rows, 1))),
        "likes": tf.constant(padded_ids(rng, rows, 3, 7)),
        "limit": tf.constant(rng.normal(size=(rows, 1)), tf.float32),
        "age": tf.constant(rng.normal(size=(rows, 1)), tf.float32),
        "recent_items": tf.constant(padded_ids(rng, rows, 2, ITEMS)),
    }


def make_examples(rows, seed=0):
    """Rows as the ranking trainer reads them."""
    rng = np.random.default_rng(seed)
    return {
        **make_query(rows, seed),
        ITEM_ROW: tf.constant(rng.integers(0, ITEMS, (rows, 1))),
        POSITION: tf.constant(rng.integers(0, 9, (rows, 1))),
        RETRIEVAL_SCORE: tf.constant(rng.normal(size=(rows, 1)), tf.float32),
        WEIGHT: tf.constant(rng.choice([0.5, 1.0], (rows, 1)), tf.float32),
        RETRIEVED: tf.zeros([rows, 1], tf.int64),
        label_key("clicked"): tf.constant(rng.integers(0, 2, (rows, 1)), tf.float32),
        label_key("bought"): tf.constant(rng.integers(0, 2, (rows, 1)), tf.float32),
    }


def randomise(model, seed=0):
    """Gives every trained weight a value that is not its first one, biases and zeros included."""
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(scale=0.5, size=weight.shape))
