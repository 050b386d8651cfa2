"""Trains small models on one device and on two, with the same batches, and prints the losses of all steps as JSON.

A program of its own: logical devices can be made only before TensorFlow first uses a device.
"""

import json

import numpy as np
import tensorflow as tf

import crossrec  # noqa: F401  (sets TF_USE_LEGACY_KERAS before Keras is looked at)
from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP
from crossrec.components.modeling.lazy_adam import LazyAdam
from crossrec.components.ranking_trainer import train as ranking
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.retrieval_trainer import train as retrieval
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.requests import TARGETS
from tests.unit.components.small_models import ITEMS, make_examples, make_query, make_schema, make_table, randomise

STEPS, ROWS = 6, 16


def retrieval_model(popularity=False, graph=None, **loss):
    config = RetrievalConfig(
        query={"features": ["user", "likes", "recent_items"], "hidden_layers": [6]},
        item={"features": ["item_id", "tags", "price"]},
        label="clicked",
        loss=loss,
        popularity={} if popularity else None,
        graph=graph,
    )
    model = retrieval.build(make_schema(), config, make_table())
    if graph is not None:
        rng = np.random.default_rng(5)
        model.graph.set_edges(rng.integers(0, 9, 30), rng.integers(0, ITEMS, 30))
    return model


def ranking_model():
    config = RankingConfig(
        features=["user", "likes", "age", "item_id", "price"],
        l2=0.01,
        tasks=[{"name": "click", "label": "clicked"}, {"name": "buy", "label": "bought", "weight": 0.5}],
        interactions=[{"type": "dcn_v2", "cross_layers": 1, "deep": {"layers": [5]}}],
    )
    return ranking.build(make_schema(), config, make_table())


def rows(seed):
    rng = np.random.default_rng(seed)
    # Few items, so that the halves of a batch have items in common.
    return {
        **make_query(ROWS, seed),
        ITEM_ROW: tf.constant(rng.integers(0, 5, [ROWS, 1])),
        TIMESTAMP: tf.constant(rng.integers(0, 100, [ROWS, 1])),
    }


def requests(seed):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, ITEMS, [ROWS, 4])
    # The devices get different numbers of targets.
    targets[np.arange(4)[None] > rng.integers(0, 4, [ROWS, 1]) * (np.arange(ROWS) < ROWS // 2)[:, None]] = -1
    return {**rows(seed), TARGETS: tf.constant(targets)}


def losses_of(make_model, make_batch, strategy):
    """Losses of the steps, and the weights after them."""
    with strategy.scope():
        model = make_model()
        model.compile(optimizer=LazyAdam(0.05))
    randomise(model, 1)
    batches = [make_batch(seed) for seed in range(STEPS)]
    data = tf.data.Dataset.from_tensor_slices({k: tf.concat([b[k] for b in batches], 0) for k in batches[0]})
    losses = []
    note = tf.keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: losses.append(float(logs["loss"])))
    model.fit(data.batch(ROWS, drop_remainder=True), epochs=1, callbacks=[note], verbose=0, shuffle=False)
    return {"losses": losses, "weights": float(sum(np.abs(w).sum() for w in model.get_weights()))}


CASES = {
    "in_batch": (lambda: retrieval_model(popularity=True), rows),
    "in_batch_requests": (retrieval_model, requests),
    "catalogue_requests": (lambda: retrieval_model(popularity=True, negatives="catalogue"), requests),
    "memory": (lambda: retrieval_model(drawn={"memory": 40}), rows),
    "graph": (lambda: retrieval_model(graph={"user": "user", "layers": 2}), rows),
    "ranking": (ranking_model, lambda seed: make_examples(ROWS, seed)),
}

if __name__ == "__main__":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert both.num_replicas_in_sync == 2
    found = {
        name: {
            "one": losses_of(*case, tf.distribute.OneDeviceStrategy("CPU:0")),
            "two": losses_of(*case, both),
        }
        for name, case in CASES.items()
    }
    print(json.dumps(found))
