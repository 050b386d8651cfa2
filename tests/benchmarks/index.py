"""Queries per second at a recall: the partitioned index, exact search and other libraries, one thread each, in turns.

Ours and exact search answer from a SavedModel that is loaded in a fresh process; Faiss (IVF and HNSW), hnswlib and
ScaNN run in a Python of their own, named by ``--peer``. Without ``--data`` vectors are a mixture of Gaussians on the
sphere: 2,000 clusters whose sizes have a tail of Pareto with index 1 and whose widths differ, wide enough to overlap;
numbers of a vector have falling variances; queries come from the same mixture with more noise, and none is an item.
``--data`` takes a file with arrays ``items`` ``[N, D]`` and ``queries`` ``[Q, D]``, as of a trained model.

A side is set to the fewest probes (or what it calls them) whose recall@100 is at least 0.90, 0.95 and 0.99, on one half
of the queries; recall and time are those of the other half.
"""

import argparse
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
SHARES = (0.002, 0.004, 0.006, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15)


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


def build(directory: str) -> dict[str, Any]:
    """Builds our index and writes a SavedModel with a signature for exact search and for each number of probes."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from crossrec.components.candidate_indexer.build import build_index
    from crossrec.components.candidate_indexer.config import IndexConfig
    from crossrec.components.candidate_indexer.divide import IndexedItems
    from crossrec.components.candidate_indexer.index import ExactIndex
    from crossrec.components.candidate_indexer.partitioned import PartitionedIndex, Probing
    from crossrec.components.candidate_indexer.tuning import nearest

    embeddings = np.load(f"{directory}/items.npy")
    embeddings = np.concatenate([embeddings, np.zeros_like(embeddings[:1])])
    queries = np.load(f"{directory}/queries.npy")
    np.save(f"{directory}/truth.npy", nearest(ExactIndex(embeddings), queries, K))
    config, users = IndexConfig(type="partitioned"), np.arange(len(queries)) // 2
    report, parts = build_index(IndexedItems(embeddings), queries, users, config, K)
    assert parts is not None
    exact = ExactIndex(embeddings)
    module, signatures = tf.Module(), {}

    def export(name: str, index: Any) -> None:
        def search(queries: tf.Tensor) -> dict[str, tf.Tensor]:
            scores, rows = index.search(queries, tf.zeros([tf.shape(queries)[0], 0], tf.int64), K)
            return {"scores": scores, "rows": rows}

        shape = tf.TensorSpec([None, embeddings.shape[1]], tf.float32)
        signatures[name] = tf.function(search, autograph=False).get_concrete_function(shape)

    module.exact = exact
    export("exact", exact)
    module.index = PartitionedIndex(exact, parts, Probing(report.probes, report.spread_weight), embeddings)
    probes = sorted({report.probes, *(max(1, round(share * report.partitions)) for share in SHARES)})
    for count in probes:
        export(f"probes_{count}", module.index.with_probes(count))
    tf.saved_model.save(module, f"{directory}/saved", signatures=signatures)
    return {"settings": probes, "build_seconds": report.seconds, "bytes": report.bytes, **report.model_dump()}


class Ours:
    """Our index and exact search, from the SavedModel."""

    def __init__(self, directory: str, kind: str):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self._constant, self._kind = tf.constant, kind
        self._model = tf.saved_model.load(f"{directory}/saved")

    def search(self, queries: np.ndarray, setting: int) -> np.ndarray:
        """Rows of the best items ``[B, K]``."""
        name = "exact" if self._kind == "exact" else f"probes_{setting}"
        return self._model.signatures[name](queries=self._constant(queries))["rows"].numpy()


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


def sweep(worker: Worker, settings: list[int], half: int) -> list[tuple[int, float]]:
    """Recall of each setting on the first half of the queries, until one reaches the last target."""
    out = []
    for setting in settings:
        # One by one: a batch in which one list is short is searched exactly as a whole.
        out.append((setting, worker.ask(first=0, count=half, batch=1, setting=setting)["recall"]))
        if out[-1][1] >= max(TARGETS) + 0.003:
            break
    return out


def measure(workers: dict[str, Worker], half: int, rounds: int) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The figures, and of each side what to draw: target, recall, rate."""
    figures: dict[str, Any] = {}
    curves: dict[str, list[Any]] = {}
    chosen: dict[tuple[str, float], int] = {}
    for name, worker in workers.items():
        if name == "exact":
            chosen |= {(name, target): 0 for target in TARGETS}
            continue
        swept = sweep(worker, worker.built["settings"], half)
        for target in TARGETS:
            enough = [setting for setting, recall in swept if recall >= target]
            if enough:
                chosen[name, target] = enough[0]
        curves[name] = []
        print(f"{name}: " + ", ".join(f"{setting}: {recall:.3f}" for setting, recall in swept), flush=True)
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
    with tempfile.TemporaryDirectory() as directory:
        if options.data:
            with np.load(options.data) as arrays:
                items, queries = arrays["items"], arrays["queries"]
        else:
            items, queries = clustered(40_000 if options.small else options.items, 1024)
        half = len(queries) // 2
        np.save(f"{directory}/items.npy", items)
        np.save(f"{directory}/queries.npy", queries)
        result: dict[str, Any] = {"items": len(items), "dimension": items.shape[1], "k": K, "rounds": rounds}
        del items, queries
        own = [sys.executable, "-m", "tests.benchmarks.index", "--worker"]
        builder = Worker([*own, "build", directory])
        builder.close()
        workers = {name: Worker([*own, name, directory]) for name in ("ours", "exact")}
        workers["ours"].built = builder.built
        for name in options.peers.split(",") if options.peer else ():
            workers[name] = Worker([str(options.peer), str(PEER), name, directory])
        for name, worker in workers.items():
            for key in ("build_seconds", "bytes"):
                if key in worker.built:
                    result[f"{name}_{key}"] = round(worker.built[key], 1)
        result |= {f"ours_{key}": builder.built[key] for key in ("partitions", "capacity", "probes", "recall")}
        figures, curves = measure(workers, half, rounds)
        for worker in workers.values():
            worker.close()
    if options.plot:
        draw(curves, options.plot)
    load = {"load": round(os.getloadavg()[0], 2)}
    print(json.dumps({**result, **figures, **load, **environment()}))


if __name__ == "__main__":
    main()
