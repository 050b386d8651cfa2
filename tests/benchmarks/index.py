"""Queries per second at a recall: the partitioned index, exact search and other libraries, one thread each, in turns.

Ours and exact search answer from a SavedModel that is loaded in a fresh process; Faiss (IVF and HNSW), hnswlib and
ScaNN run in a Python of their own, named by ``--peer``. Without ``--data`` or ``--run`` vectors are a mixture of
Gaussians on the sphere: 2,000 clusters whose sizes have a tail of Pareto with index 1 and whose widths differ, wide
enough to overlap; numbers of a vector have falling variances; queries come from the same mixture with more noise, and
none is an item. ``--data`` takes a file with arrays ``items`` ``[N, D]`` and ``queries`` ``[Q, D]``, as of a trained
model (``tests.benchmarks.retrieval_gowalla --save`` writes one). ``--run`` takes the root of a pipeline's run: items
are the catalogue that was indexed last, queries those of the validation split through the query tower that is served.

A side is set to the fewest probes (or what it calls them) whose recall@100 is at least 0.90, 0.95 and 0.99, on one half
of the queries; recall and time are those of the other half. With ``--keep`` what was built stays in a folder, and the
next run on that folder only measures; after a change of the index, remove ``saved`` and ``built.json`` from it.
"""

import argparse
import bisect
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

PEER = Path(__file__).with_name("index_peer.py")
K, TARGETS = 100, (0.90, 0.95, 0.99)
PEERS = ("faiss_ivf", "faiss_hnsw", "hnswlib", "scann")


def clustered(items: int, queries: int, dimension: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Items and queries, float32 of length one."""
    random = np.random.default_rng(seed)
    scales = (np.arange(1, dimension + 1) ** -0.25).astype(np.float32)
    scales /= np.sqrt((scales**2).mean())
    shares = random.pareto(1.0, 2000) + 0.05
    shares /= shares.sum()
    centres = random.standard_normal((2000, dimension), np.float32) * scales
    widths = (0.7 * random.lognormal(0, 0.25, 2000)).astype(np.float32)

    def draw(count: int, noise: float) -> np.ndarray:
        of = random.choice(2000, count, p=shares)
        out = centres[of] + widths[of, None] * random.standard_normal((count, dimension), np.float32) * scales
        out += noise * random.standard_normal((count, dimension), np.float32) * scales
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    return draw(items, 0.0), draw(queries, 0.3)


def of_run(root: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of a run's catalogue and of queries of its validation split, those of a user one after another."""
    import tensorflow_transform as tft

    from crossrec.components.candidate_indexer.config import IndexConfig
    from crossrec.components.candidate_indexer.executor import embed_queries
    from crossrec.components.candidate_indexer.index import read_embeddings
    from crossrec.components.features.item_table import ItemTable
    from crossrec.components.features.schema import FeatureSchema
    from crossrec.components.modeling.inputs import TrainingData
    from crossrec.components.retrieval_trainer import train
    from tests.benchmarks.runs import newest_artifact

    def newest(component: str, output: str) -> str:
        return str(newest_artifact(root, component, output))

    schema = FeatureSchema.read(newest("CrossSelector", "cross_set"))
    table = ItemTable.read(newest("FeatureTransform", "item_table"))
    model = train.load(newest("RetrievalTrainer", "retrieval_model"), schema, table, served=True)
    spec = tft.TFTransformOutput(f"{newest('FeatureTransform', 'transform_graphs')}/query").transformed_feature_spec()
    examples = newest("FeatureTransform", "transformed_interactions")
    data = TrainingData({"validation": f"{examples}/Split-validation/*"}, spec)
    embedded, users = embed_queries(model, schema, data, IndexConfig(queries=count))
    items = read_embeddings(newest("CandidateIndexer", "candidate_index"), served=True)[:-1]
    return items, embedded[np.argsort(users, kind="stable")]


def vectors(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Items and queries, as the command line says."""
    if options.run:
        return of_run(options.run, 1024)
    if options.data:
        with np.load(options.data) as arrays:
            return arrays["items"], arrays["queries"]
    return clustered(40_000 if options.small else options.items, 1024)


def build(directory: str) -> dict[str, Any]:
    """Builds our index and writes a SavedModel with a signature for exact search and for each target."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from crossrec.components.candidate_indexer.build import build_index
    from crossrec.components.candidate_indexer.config import IndexConfig
    from crossrec.components.candidate_indexer.divide import IndexedItems
    from crossrec.components.candidate_indexer.index import ExactIndex
    from crossrec.components.candidate_indexer.partitioned import PartitionedIndex
    from crossrec.components.candidate_indexer.probing import Probing
    from crossrec.components.candidate_indexer.tuning import nearest, recall

    embeddings = np.load(f"{directory}/items.npy")
    embeddings = np.concatenate([embeddings, np.zeros_like(embeddings[:1])])
    queries = np.load(f"{directory}/queries.npy")
    exact = ExactIndex(embeddings)
    truth = nearest(exact, queries, K)
    np.save(f"{directory}/truth.npy", truth)
    config, users = IndexConfig(type="partitioned"), np.arange(len(queries)) // 2
    worked = time.process_time()
    report, parts = build_index(IndexedItems(embeddings), queries, users, config, K)
    worked = time.process_time() - worked
    assert parts is not None
    module, signatures = tf.Module(), {}
    module.exact = exact
    probing = Probing(report.probes, report.spread_weight, report.rank, report.margin)
    module.index = PartitionedIndex(exact, parts, probing, embeddings)

    def search(index: Any, queries: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, rows = index.search(queries, tf.zeros([tf.shape(queries)[0], 0], tf.int64), K)
        return {"scores": scores, "rows": rows}

    shape = tf.TensorSpec([None, embeddings.shape[1]], tf.float32)
    trial = tf.function(
        lambda margin, queries: search(module.index.with_margin(margin), queries)["rows"], autograph=False
    ).get_concrete_function(tf.TensorSpec([], tf.float32), shape)

    def reached(margin: float) -> float:
        half = queries[: len(queries) // 2]
        found = [trial(tf.constant(margin), tf.constant(half[row : row + 32])) for row in range(0, len(half), 32)]
        return recall(np.concatenate(found), truth[: len(half)])

    def export(name: str, index: Any) -> None:
        call = tf.function(lambda queries: search(index, queries), autograph=False)
        signatures[name] = call.get_concrete_function(tf.TensorSpec(shape.shape, shape.dtype, "queries"))

    export("exact", exact)
    margins = []
    for target in TARGETS:
        low, high = 0.0, 3 * max(report.margin, 0.01)
        for _ in range(10):
            middle = (low + high) / 2
            low, high = (low, middle) if reached(middle) >= target else (middle, high)
        margins.append(high)
        export(f"margin_{high}".replace(".", "_"), module.index.with_margin(high))
    tf.saved_model.save(module, f"{directory}/saved", signatures=signatures)
    seconds = {"build_seconds": report.seconds, "build_cpu_seconds": worked}
    return {"settings": margins, **seconds, "bytes": report.bytes, **report.model_dump()}


class Ours:
    """Our index and exact search, from the SavedModel: run as TensorFlow Serving does, by a session.

    The session works in the thread that calls, as the libraries do.
    """

    def __init__(self, directory: str, kind: str):
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        with self._session.graph.as_default():
            model = tf.compat.v1.saved_model.load(self._session, ["serve"], f"{directory}/saved")
        self._signatures, self._kind = model.signature_def, kind
        self._calls: dict[str, Any] = {}

    def search(self, queries: np.ndarray, setting: float) -> np.ndarray:
        """Rows of the best items ``[B, K]``."""
        name = "exact" if self._kind == "exact" else f"margin_{setting}".replace(".", "_")
        if name not in self._calls:
            self._calls[name] = self._callable(self._signatures[name])
        return self._calls[name](queries)[0]

    def _callable(self, signature: Any) -> Any:
        from tensorflow.core.protobuf import config_pb2

        options = config_pb2.CallableOptions(feed=[signature.inputs["queries"].name])
        options.fetch.extend(signature.outputs[name].name for name in ("rows", "scores"))
        options.run_options.inter_op_thread_pool = -1
        # Session.run of Python would add .07 ms of its own to every call.
        return self._session._make_callable_from_options(options)


def answer(side: Any, directory: str) -> None:
    """Takes one measurement per line of standard input; the last line of the answer is JSON."""
    queries, truth = np.load(f"{directory}/queries.npy"), np.load(f"{directory}/truth.npy")
    for line in sys.stdin:
        task = json.loads(line)
        chosen = slice(task["first"], task["first"] + task["count"])
        batches = [queries[chosen][start : start + task["batch"]] for start in range(0, task["count"], task["batch"])]
        for batch in batches[:3]:
            side.search(batch, task["setting"])
        started, worked = time.perf_counter(), time.process_time()
        found = [side.search(batch, task["setting"]) for batch in batches]
        seconds, worked = time.perf_counter() - started, time.process_time() - worked
        hits = [len(np.intersect1d(a, b)) / K for a, b in zip(np.concatenate(found), truth[chosen])]
        rates = {"rate": task["count"] / seconds, "cpu_rate": task["count"] / worked}
        print(json.dumps({**rates, "recall": float(np.mean(hits))}), flush=True)


class Worker:
    """A side in a process of its own, asked line by line."""

    def __init__(self, command: list[str]):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.built = self._read()

    def ask(self, **task: Any) -> dict[str, Any]:
        """The result of a measurement."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self._process.args} ended with {self._process.wait()}")


def sweep(worker: Worker, settings: list[float], half: int) -> dict[float, tuple[float, float]]:
    """The first of ascending settings that reaches each target on the first half of the queries, and its recall."""
    recalls: dict[float, float] = {}

    def reached(setting: float) -> float:
        if setting not in recalls:
            # One by one: a batch in which one list is short is searched exactly as a whole.
            recalls[setting] = worker.ask(first=0, count=half, batch=1, setting=setting)["recall"]
        return recalls[setting]

    out = {}
    for target in TARGETS:
        place = bisect.bisect_left(settings, target, key=reached)
        if place < len(settings):
            out[target] = settings[place], reached(settings[place])
    return out


def measure(workers: dict[str, Worker], half: int, rounds: int) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The figures, and of each side what to draw: target, recall, rate."""
    figures: dict[str, Any] = {}
    curves: dict[str, list[Any]] = {}
    chosen: dict[tuple[str, float], float] = {}
    for name, worker in workers.items():
        if name == "exact":
            chosen |= {(name, target): 0 for target in TARGETS}
            continue
        swept = sweep(worker, worker.built["settings"], half)
        chosen |= {(name, target): setting for target, (setting, _) in swept.items()}
        curves[name] = []
        print(f"{name}: " + ", ".join(f"{setting:.4g}: {recall:.4f}" for setting, recall in swept.values()), flush=True)
    for batch in (1, 8, 64):
        for target in TARGETS:
            sides = [name for name in workers if (name, target) in chosen]
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
            for _ in range(rounds):
                for name in sides:
                    count = min(half, 64 if name == "exact" else 512)
                    task = {"first": half, "count": count, "batch": batch, "setting": chosen[name, target]}
                    runs[name].append(workers[name].ask(**task))
            for name in sides:
                rate, cpu = (statistics.median(run[key] for run in runs[name]) for key in ("rate", "cpu_rate"))
                recall = runs[name][0]["recall"]
                key = f"{name}@{target:.2f}_batch{batch}"
                figures |= {key: round(rate, 1), f"{key}_cpu": round(cpu, 1), f"{key}_recall": round(recall, 4)}
                if batch == 1 and name in curves:
                    curves[name].append((recall, rate))
                print(f"batch {batch}, target {target:.2f}, {name}: {rate:,.0f}/s, recall {recall:.4f}", flush=True)
            for name in sides:
                if name != "ours" and "ours" in sides:
                    pairs = list(zip(runs["ours"], runs[name]))
                    ratio = statistics.median(ours["rate"] / other["rate"] for ours, other in pairs)
                    cpu = statistics.median(ours["cpu_rate"] / other["cpu_rate"] for ours, other in pairs)
                    key = f"ours_to_{name}@{target:.2f}_batch{batch}"
                    figures |= {key: round(ratio, 3), f"{key}_cpu": round(cpu, 3)}
    return figures, curves


def draw(curves: dict[str, list[Any]], path: Path) -> None:
    """Recall against queries per second."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 5))
    for name, points in curves.items():
        axes.plot([recall for recall, _ in points], [rate for _, rate in points], marker="o", label=name)
    axes.set(xlabel=f"recall@{K}", ylabel="queries a second, one thread, one query a call", yscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, help="Python of an environment with faiss-cpu, hnswlib and scann")
    parser.add_argument("--peers", default=",".join(PEERS), help="those of them to measure")
    parser.add_argument("--data", type=Path, help=".npz with items and queries")
    parser.add_argument("--run", type=Path, help="root of a pipeline's run, whose embeddings are taken")
    parser.add_argument("--keep", type=Path, help="folder for what is built")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--plot", type=Path, help="where to draw recall against rate")
    parser.add_argument("--seeds", type=int, default=5, help="rounds; the figures are medians")
    parser.add_argument("--small", action="store_true", help="40,000 items, one round")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, directory = options.worker
        if kind == "build":
            print(json.dumps(build(directory)), flush=True)
        else:
            side = Ours(directory, kind)
            print("{}", flush=True)
            answer(side, directory)
        return
    from tests.benchmarks.runs import environment

    rounds = 1 if options.small else options.seeds
    with contextlib.ExitStack() as stack:
        directory = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "queries.npy").exists():
            items, queries = vectors(options)
            np.save(directory / "items.npy", items)
            np.save(directory / "queries.npy", queries)
            del items, queries
        count, dimension = np.load(directory / "items.npy", mmap_mode="r").shape
        half = len(np.load(directory / "queries.npy")) // 2
        result: dict[str, Any] = {"items": count, "dimension": dimension, "k": K, "rounds": rounds}
        own = [sys.executable, "-m", "tests.benchmarks.index", "--worker"]
        built = directory / "built.json"
        if not built.exists():
            builder = Worker([*own, "build", str(directory)])
            builder.close()
            built.write_text(json.dumps(builder.built))
        workers = {name: Worker([*own, name, str(directory)]) for name in ("ours", "exact")}
        workers["ours"].built = json.loads(built.read_text())
        for name in options.peers.split(",") if options.peer else ():
            workers[name] = Worker([str(options.peer), str(PEER), name, str(directory)])
        for name, worker in workers.items():
            for key in ("build_seconds", "build_cpu_seconds", "bytes"):
                if key in worker.built:
                    result[f"{name}_{key}"] = round(worker.built[key], 1)
        described = ("partitions", "capacity", "probes", "spread_weight", "rank", "margin", "recall")
        result |= {f"ours_{key}": workers["ours"].built[key] for key in described}
        figures, curves = measure(workers, half, rounds)
        for worker in workers.values():
            worker.close()
    if options.plot:
        draw(curves, options.plot)
    load = {"load": round(os.getloadavg()[0], 2)}
    print(json.dumps({**result, **figures, **load, **environment()}))


if __name__ == "__main__":
    main()
