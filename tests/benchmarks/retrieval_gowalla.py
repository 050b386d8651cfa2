"""Gowalla: Recall@20 and NDCG@20 of the retrieval model on the published split, from ids alone.

    python -m tests.benchmarks.retrieval_gowalla [--data DIR] [--seeds N] [--small] [--model NAME] [--choose]

The model is the pipeline's own, trained by its own loop. All items that a user does not know are candidates, and the
figures are means over all users of the test. First a fifth of each user's items, the share of the published test, is
held out of the training file, popular ones a little more often, as there: on those the number of epochs is chosen,
once. Then each seed trains on the whole training file for so many epochs, is written, read again as a bundle does, and
asked once about the test.
``popularity_…`` is the order by frequency.

``--model filter`` is the graph filter in closed form beside what everybody likes, ``--model graph`` items that are
propagated along the graph while they are trained. ``--choose`` prints what validation says of other filters, and asks
nothing about the test. ``--save FILE.npz`` writes the last seed's embeddings for ``tests.benchmarks.index --data``.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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

# How they were chosen: components/retrieval_trainer/README.md. In both, the tower of queries gives all the same vector,
# for what everybody likes; the rest of a user is what the graph makes of the user's items, so all users could be new.
_SHARED: dict[str, Any] = {
    "query": {"features": ["everyone"], "output": "sum", "hidden_layers": []},
    "item": {"features": ["item"], "output": "sum", "hidden_layers": []},
    "label": "interaction",
    "requests": {"companions": 0.9, "targets": 1024},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "filter": {
        **_SHARED,
        "embedding_dimension": 1,
        "dimension": 1,
        "normalise": False,
        "graph_filter": {
            "history": "recent_items",
            "dimension": 1024,
            "history_exponent": 0.9,
            "user_exponent": 1.0,
            "item_exponent": 0.1,
            "weight": 20.0,
        },
        "loss": {"negatives": "catalogue", "temperature": 1.0},
        "training": {"epochs": 1, "batch_size": 1024, "learning_rate": 0.01},
    },
    "graph": {
        **_SHARED,
        "embedding_dimension": 128,
        "dimension": 128,
        "graph": {"history": "recent_items", "layers": 5},
        "loss": {"negatives": "catalogue", "temperature": 0.07},
        "training": {
            "epochs": 14,
            "batch_size": 1024,
            "learning_rate": 0.02,
            "patience": 3,
            "schedule": {"type": "cosine"},
        },
    },
}
# One change at a time to the filter; what --choose compares.
CHOICES: tuple[dict[str, float], ...] = (
    {},
    {"dimension": 256},
    {"dimension": 512},
    {"history_exponent": 0.5},
    {"history_exponent": 0.7},
    {"user_exponent": 0.7},
    {"item_exponent": 0.0},
    {"item_exponent": 0.3},
    {"degree_offset": 5.0},
)
HELD_OUT, TILT, VALIDATION_USERS, ROWS = 0.2, 0.25, 5000, 512
INDEX_QUERIES = 1024
SMALL_USERS, SMALL_EPOCHS, SMALL_DIMENSION = 1500, 6, 128


def settings(name: str, seed: int, **changes: Any) -> RetrievalConfig:
    """A configuration with a seed and with some sections changed."""
    chosen = SETTINGS[name]
    training = {**chosen["training"], "seed": seed, **changes.pop("training", {})}
    return RetrievalConfig.model_validate({**chosen, **changes, "training": training})


def trained(
    split: data.Split, config: RetrievalConfig, asked: np.ndarray | None
) -> tuple[RetrievalModel, list[dict[str, float]]]:
    """Trains on what is known, with the epoch that is best on the wanted items of some users, or with the last."""
    schema = data.schema_of(split)
    model = train.compiled(schema, data.table_of(split), config)
    requests = data.training_requests(split)
    users = np.repeat(np.arange(split.users), split.known.lengths)
    if model.graph is not None:
        model.graph.set_edges(users, split.known.items)
    if model.graph_filter is not None:
        model.graph_filter.fit(users, split.known.items)
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


def choose(split: data.Split, asked: np.ndarray) -> dict[str, float]:
    """NDCG of other filters on validation, the towers left as they are before training, next to nothing."""
    found = {}
    validation, of_requests = data.asked(split, asked), RequestsConfig(new_items_only=True)
    users = np.repeat(np.arange(split.users), split.known.lengths)
    for change in CHOICES:
        config = settings("filter", 0, graph_filter={**SETTINGS["filter"]["graph_filter"], **change})
        model = train.compiled(data.schema_of(split), data.table_of(split), config)
        assert model.graph_filter is not None
        model.graph_filter.fit(users, split.known.items)
        name = ", ".join(f"{key} {value:g}" for key, value in change.items()) or "as it is"
        found[name] = train.request_ndcg(model, validation, of_requests, data.K)
        print(f"{name}: validation NDCG@20 {found[name]:.4f}", flush=True)
    return found


def save_embeddings(path: Path, model: RetrievalModel, split: data.Split) -> None:
    """Items and, in random order, the queries of users with a history, for ``tests.benchmarks.index``."""
    users = np.random.default_rng(0).permutation(np.flatnonzero(split.known.lengths))[:INDEX_QUERIES]
    features = {"everyone": data.everyone(users), "recent_items": data.histories(split, users)}
    queries = model.embed_queries({name: tf.constant(values) for name, values in features.items()}).numpy()
    np.savez(path, items=model.embed_catalogue()[:-1], queries=queries)


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
    parser.add_argument("--model", choices=sorted(SETTINGS), default="filter")
    parser.add_argument("--choose", action="store_true", help="compare filters on validation, and stop")
    parser.add_argument("--save", type=Path, help="where to write the embeddings, as .npz")
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
        if options.model == "filter":
            changes["graph_filter"] = {**SETTINGS["filter"]["graph_filter"], "dimension": SMALL_DIMENSION}
    users = np.flatnonzero(split.wanted.lengths)
    figures: dict[str, list[float]] = {}
    for name, value in data.measure(data.by_popularity(split, users), split, users).items():
        figures[f"popularity_{name}"] = [value]
    epochs = options.epochs
    if epochs is None or options.choose:
        choosing = data.hold_out(split, HELD_OUT, TILT, seed=7)
        some = np.random.default_rng(1).permutation(split.users)[:VALIDATION_USERS]
        if options.choose:
            print(json.dumps({**choose(choosing, some), **environment()}))
            return
        _, history = trained(choosing, settings(options.model, 0, **changes), some)
        epochs = 1 + int(np.argmax([entry["monitor"] for entry in history]))
        figures["validation_ndcg@20"] = [max(entry["monitor"] for entry in history)]
        print(f"{epochs} epochs are best on validation: NDCG@20 {figures['validation_ndcg@20'][0]:.4f}", flush=True)
    planned = {**changes.pop("training", {}), "epochs": epochs, "patience": 0}
    seeds = 1 if options.small else options.seeds
    for seed in range(seeds):
        config = settings(options.model, seed, **changes, training=planned)
        before = time.perf_counter()
        model, history = trained(split, config, None)
        figures.setdefault("seconds_to_train", []).append(time.perf_counter() - before)
        figures.setdefault("seconds_per_epoch", []).append(float(np.mean([entry["seconds"] for entry in history])))
        model = reloaded(model, split, config)
        dimension = model.embed_catalogue().shape[1]
        for name, value in data.measure(recommend(model, split, users), split, users).items():
            figures.setdefault(name, []).append(value)
        print(
            f"seed {seed}: recall@20 {figures['recall@20'][-1]:.5f}, ndcg@20 {figures['ndcg@20'][-1]:.5f}", flush=True
        )
    if options.save:
        save_embeddings(options.save, model, split)
    if options.small:
        alone = {**_SHARED["query"], "features": ["everyone", "recent_items"], "pooling": "root"}
        config = settings("graph", 0, graph=None, query=alone, training=planned)
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
        "model": options.model,
        "dimension": dimension,
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
