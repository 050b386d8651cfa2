"""Gowalla: Recall@20 and NDCG@20 of the retrieval model on the published split, from ids alone.

    python -m tests.benchmarks.retrieval_gowalla [--data DIR] [--seeds N] [--small]

The model is the pipeline's own, trained by its own loop. All items that a user does not know are candidates, and the
figures are means over all users of the test. First a tenth of each user's items is held out of the training file: on
those the number of epochs is chosen, once. Then each seed trains on the whole training file for so many epochs, is
written, read again as a bundle does, and asked once about the test. ``popularity_…`` is the order by frequency.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from crossrec.components.modeling import runtime, saving
from crossrec.components.modeling.training import Monitor, fit
from crossrec.components.retrieval_trainer import train
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.loss import without
from crossrec.components.retrieval_trainer.model import RetrievalModel
from crossrec.components.retrieval_trainer.requests import RequestsConfig, request_batches
from tests.benchmarks import retrieval_gowalla_data as data
from tests.benchmarks.runs import environment, mean_and_sd

# Chosen on the tenth that is held out. The tower of queries gives all the same vector, for what everybody likes; the
# rest of a user is what the graph makes of the user's items, so all users could be new ones.
SETTINGS: dict[str, Any] = {
    "query": {"features": ["everyone"], "output": "sum", "hidden_layers": []},
    "item": {"features": ["item"], "output": "sum", "hidden_layers": []},
    "label": "interaction",
    "embedding_dimension": 128,
    "dimension": 128,
    "graph": {"history": "recent_items", "layers": 5},
    "loss": {"negatives": "catalogue", "temperature": 0.07},
    "requests": {"companions": 0.9, "targets": 1024},
    "training": {
        "epochs": 14,
        "batch_size": 1024,
        "learning_rate": 0.02,
        "patience": 3,
        "schedule": {"type": "cosine"},
    },
}
HELD_OUT, VALIDATION_USERS, ROWS = 0.1, 5000, 512
SMALL_USERS, SMALL_EPOCHS = 1500, 6


def settings(seed: int, **changes: Any) -> RetrievalConfig:
    """The configuration with a seed and with some sections changed."""
    training = {**SETTINGS["training"], "seed": seed, **changes.pop("training", {})}
    return RetrievalConfig.model_validate({**SETTINGS, **changes, "training": training})


def trained(
    split: data.Split, config: RetrievalConfig, asked: np.ndarray | None
) -> tuple[RetrievalModel, list[dict[str, float]]]:
    """Trains on what is known, with the epoch that is best on the wanted items of some users, or with the last."""
    schema = data.schema_of(split)
    model = train.compiled(schema, data.table_of(split), config)
    requests = data.training_requests(split)
    if model.graph is not None:
        users = np.repeat(np.arange(split.users), split.known.lengths)
        model.graph.set_edges(users, split.known.items)
    monitor = Monitor("steps", maximise=True, measure=lambda: float(model.optimizer.iterations.numpy()))
    if asked is not None:
        validation, of_requests = data.asked(split, asked), RequestsConfig(new_items_only=True)
        monitor = Monitor(
            f"ndcg@{data.K}", maximise=True, measure=lambda: train.request_ndcg(model, validation, of_requests, data.K)
        )
    assert config.requests is not None
    batches = request_batches(requests, schema, config.requests, config.training).prefetch(2)
    with tempfile.TemporaryDirectory() as folder:
        history = fit(model, batches, monitor, config.training, folder)
    model.finish()
    return model, history


def reloaded(model: RetrievalModel, split: data.Split, config: RetrievalConfig) -> RetrievalModel:
    """The model as a bundle reads it."""
    with tempfile.TemporaryDirectory() as folder:
        saving.save(folder, model, config, [])
        return train.load(folder, data.schema_of(split), data.table_of(split), served=False)


def recommend(model: RetrievalModel, split: data.Split, users: np.ndarray) -> np.ndarray:
    """The K nearest items that each user does not know, int64 [Q, K]."""
    catalogue = tf.constant(model.embed_catalogue()[:-1])

    def nearest(everyone: tf.Tensor, history: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
        queries = model.embed_queries({"everyone": everyone, "recent_items": history})
        scores = tf.matmul(queries, catalogue, transpose_b=True)
        return tf.math.top_k(without(scores, known), data.K).indices

    step = tf.function(nearest, autograph=False, reduce_retracing=True)
    found = []
    for start in range(0, len(users), ROWS):
        chosen = users[start : start + ROWS]
        parts = data.everyone(chosen), data.histories(split, chosen), data.everything_known(split, chosen)
        found.append(step(*map(tf.constant, parts)).numpy())
    return np.concatenate(found).astype(np.int64)


def main() -> None:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder that holds gowalla_m1/; default: $CROSSREC_DATA")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="epochs of the final trainings; chosen on validation if left out")
    parser.add_argument("--small", action="store_true", help="a slice of the users, one seed, beside no graph")
    options = parser.parse_args()
    try:
        split = data.read(data.find_data(options.data))
    except FileNotFoundError as error:
        sys.exit(str(error))
    runtime.prepare()
    started = time.perf_counter()
    changes: dict[str, Any] = {}
    if options.small:
        split = data.slice_of(split, SMALL_USERS)
        changes = {"training": {"epochs": SMALL_EPOCHS, "batch_size": 128}}
    users = np.flatnonzero(split.wanted.lengths)
    figures: dict[str, list[float]] = {}
    for name, value in data.measure(data.by_popularity(split, users), split, users).items():
        figures[f"popularity_{name}"] = [value]
    epochs = options.epochs
    if epochs is None:
        choosing = data.hold_out(split, HELD_OUT, seed=7)
        some = np.random.default_rng(1).permutation(split.users)[:VALIDATION_USERS]
        _, history = trained(choosing, settings(0, **changes), some)
        epochs = 1 + int(np.argmax([entry["monitor"] for entry in history]))
        figures["validation_ndcg@20"] = [max(entry["monitor"] for entry in history)]
        print(f"{epochs} epochs are best on validation: NDCG@20 {figures['validation_ndcg@20'][0]:.4f}", flush=True)
    planned = {**changes.get("training", {}), "epochs": epochs, "patience": 0}
    seeds = 1 if options.small else options.seeds
    for seed in range(seeds):
        config = settings(seed, training=planned)
        model, history = trained(split, config, None)
        figures.setdefault("seconds_per_epoch", []).append(float(np.mean([entry["seconds"] for entry in history])))
        model = reloaded(model, split, config)
        for name, value in data.measure(recommend(model, split, users), split, users).items():
            figures.setdefault(name, []).append(value)
        print(
            f"seed {seed}: recall@20 {figures['recall@20'][-1]:.5f}, ndcg@20 {figures['ndcg@20'][-1]:.5f}", flush=True
        )
    if options.small:
        alone = {**SETTINGS["query"], "features": ["everyone", "recent_items"], "pooling": "root"}
        config = settings(0, graph=None, query=alone, training=planned)
        model, _ = trained(split, config, None)
        for name, value in data.measure(recommend(model, split, users), split, users).items():
            figures[f"no_graph_{name}"] = [value]
    result = mean_and_sd(figures)
    peer = "no_graph" if options.small else "popularity"
    result[f"ratio_to_{peer}"] = round(result["ndcg@20"] / result[f"{peer}_ndcg@20"], 4)
    used = resource.getrusage(resource.RUSAGE_SELF)
    summary = {
        "users": len(users),
        "items": split.items,
        "pairs": len(split.known.items),
        "dimension": SETTINGS["dimension"],
        "epochs": epochs,
        "seeds": seeds,
        "memory_gb": round(used.ru_maxrss / 2**20, 2),
        "load": round(os.getloadavg()[0], 1),
        "seconds": round(time.perf_counter() - started, 1),
    }
    print(json.dumps({**result, **summary, **environment()}))
    if options.small and not result["ndcg@20"] > max(result["no_graph_ndcg@20"], result["popularity_ndcg@20"]):
        sys.exit("the graph's towers are not ahead of popularity and of towers without it")


if __name__ == "__main__":
    main()
