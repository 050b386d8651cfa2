"""Latency of `recommend` over the local server as the catalogue grows, with 200 ranked candidates.

    python -m tests.benchmarks.recommend_latency [--small] [--items N ...] [--encoder PATH] [--keep DIR]

One small marketplace is simulated and trained on; `crossrec reindex` then puts larger catalogues into its release: the
items that there are, and items like these with other titles, brands and prices. Each version is served over gRPC on
loopback. Requests are rows of the validation split, one at a time, from one client and from two at once. Beside that
the stages of the served graph are timed in the process, in alternating rounds: a call that does nothing, texts to
vectors (with `--encoder`, which gives the texts of queries and titles a language model), the query's features and
tower, the index, ranking (item features, crosses, model), and the cut (the best, their ids and titles). A stage's
time is that of the graph up to it, less that of the graph up to the one before.

The last line is one flat JSON object: `p50_ms_<items>`, `p99_ms_<items>`, `p99_ms_two_clients_<items>`,
`share_<stage>_<items>`, `reindex_seconds_<items>`, and `growth`: the exponent g of p50 ~ items^g.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from crossrec.serving.contract import messages
from crossrec.serving.contract.prediction_logs import predict_request
from crossrec.serving.local_server import LocalServer
from tests.benchmarks.runs import COMMAND, environment, example, newest_artifact

SIZES, SMALL_SIZES = (10_000, 100_000, 1_000_000), (1_000, 10_000)
SIMULATED = 1_000
CANDIDATES, REQUESTS, WARM_UP = 200, 128, 50
MODEL = "recommender"


def make_spec(encoder: str | None) -> dict[str, Any]:
    """The marketplace's spec with short trainings and no search for crosses; explicit crosses stay."""
    spec = example("marketplace")
    del spec["crosses"]["auto"]
    spec["retrieval"]["training"] = {"batch_size": 512, "epochs": 2, "learning_rate": 0.003}
    spec["ranking"]["training"] = {"batch_size": 1024, "epochs": 1, "learning_rate": 0.002, "patience": 0}
    spec["evaluation"] = {
        "k": [10],
        "group_by": "request",
        "thresholds": [{"metric": "end_to_end/ndcg@10", "minimum": 0}],
    }
    spec["serving"] |= {"candidates": CANDIDATES, "check": {"requests": 0, "server": "local"}}
    for side, vector, column in (("query", "query_vector", "query"), ("item", "title_vector", "title")):
        if encoder is None:
            crosses = spec["crosses"]["explicit"]
            spec["crosses"]["explicit"] = [cross for cross in crosses if vector not in cross["inputs"]]
            del spec["features"][side][vector]
            spec["retrieval"][side]["features"].remove(vector)
        else:
            path = {} if encoder == "small" else {"path": encoder}
            spec["features"][side][vector] = {"type": "text", "column": column, "encoder": path}
    return spec


def command(*arguments: object) -> None:
    """Runs `crossrec` in a process of its own, so that what it leaves behind does not slow the measured one."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"crossrec {arguments[0]} gave {done.returncode}\n{done.stdout}{done.stderr}")


def enlarge(source: Path, target: Path, items: int) -> None:
    """Writes a catalogue of so many items: those of another one, and items that are put together from their parts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, rng = pq.read_table(source), np.random.default_rng(items)
    more = items - table.num_rows
    like = [pa.array(rng.integers(0, table.num_rows, more)) for _ in range(3)]
    new = table.take(like[0])
    titles = [np.array(table.column("title").take(rows).fill_null("").to_pylist(), object) for rows in like]
    words = [np.array([title.split()[-1:] or [""] for title in part], object)[:, 0] for part in titles[1:]]
    prices = np.array(new.column("price").to_pylist(), float) * rng.uniform(0.5, 2.0, more)
    columns = {
        "item_id": pa.array([f"n{number:08}" for number in range(more)]),
        "title": pa.array(titles[0] + " " + words[0] + " " + words[1]),
        "brand": table.column("brand").take(like[1]),
        "price": pa.array(prices, table.schema.field("price").type),
    }
    for name, values in columns.items():
        new = new.set_column(new.schema.get_field_index(name), name, values)
    pq.write_table(pa.concat_tables([table, new.cast(table.schema)]), target)


def requests_of(root: Path) -> list[dict[str, np.ndarray]]:
    """Query inputs of rows of the validation split, one row each."""
    from crossrec.components.features.schema import FeatureSchema
    from crossrec.components.serving_bundle.requests import fill_vectors, sample_rows
    from tests.benchmarks.recommend_latency_parts import exclude_nothing

    (schema,) = ((root / "artifacts" / "CrossSelector" / "cross_set").iterdir(),)
    read = FeatureSchema.read(str(next(schema)))
    folder = next((root / "artifacts" / "InteractionsExampleGen" / "examples").iterdir())
    rows = fill_vectors(sample_rows(f"{folder}/Split-validation/*", read.raw_query, REQUESTS), read.raw_widths)
    count = len(next(iter(rows.values())))
    return [exclude_nothing({name: v[row : row + 1] for name, v in rows.items()}) for row in range(count)]


def ask_server(target: str, requests: list[dict[str, np.ndarray]], calls: int, clients: int) -> np.ndarray:
    """Milliseconds of calls `[clients * calls]` from so many clients at once, each with a channel of its own."""
    wire = [predict_request(inputs, MODEL, "recommend") for inputs in requests]
    times: list[float] = []

    def client(number: int) -> None:
        with grpc.insecure_channel(target) as channel:
            predict = channel.unary_unary(
                messages.PREDICT_METHOD,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=messages.PredictResponse.FromString,
            )
            for turn in range(-WARM_UP, calls):
                started = time.perf_counter()
                predict(wire[(turn + number * 7) % len(wire)], timeout=60)
                if turn >= 0:
                    times.append((time.perf_counter() - started) * 1e3)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) != clients * calls:
        raise RuntimeError(f"{clients * calls - len(times)} of {clients * calls} requests failed")
    return np.array(times)


def time_stages(stages: Mapping[str, Callable[..., Any]], requests: list[Any], rounds: int) -> dict[str, float]:
    """Median milliseconds of each stage, in rounds that take all beginnings of the graph in turn."""
    import tensorflow as tf

    inputs = [{name: tf.constant(values) for name, values in request.items()} for request in requests]
    times: dict[str, list[float]] = {name: [] for name in stages}
    for turn in range(-10, rounds):
        for name, stage in stages.items():
            started = time.perf_counter()
            stage(inputs[turn % len(inputs)])
            if turn >= 0:
                times[name].append((time.perf_counter() - started) * 1e3)
    whole = {name: float(np.median(values)) for name, values in times.items()}
    before = 0.0
    out = {}
    for name, value in whole.items():
        out[name], before = max(value - before, 0.0), max(value, before)
    return out


def measure(root: Path, version: int, requests: list[Any], calls: int) -> dict[str, float]:
    """Figures of one version."""
    from crossrec.components.serving_bundle.config import ServingConfig
    from tests.benchmarks.recommend_latency_parts import load_stages

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / MODEL).mkdir()
        (Path(folder) / MODEL / str(version)).symlink_to(root / "serving" / MODEL / str(version))
        with LocalServer(Path(folder) / MODEL, MODEL) as server:
            one = ask_server(server.target, requests, calls, 1)
            two = ask_server(server.target, requests, calls, 2)
    config = ServingConfig(candidates=CANDIDATES, display=("title",))
    stages = time_stages(load_stages(root, MODEL, version, config), requests, calls)
    total = sum(stages.values())
    return {
        "p50_ms": float(np.percentile(one, 50)),
        "p99_ms": float(np.percentile(one, 99)),
        "p99_ms_two_clients": float(np.percentile(two, 99)),
        "graph_ms": total,
        **{f"share_{name}": value / total for name, value in stages.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.recommend_latency")
    parser.add_argument("--small", action="store_true", help="small catalogues and fewer calls, for CI")
    parser.add_argument("--items", type=int, nargs="+", metavar="N", help="sizes of the catalogues")
    parser.add_argument(
        "--encoder",
        metavar="PATH",
        help="directory of a pretrained text encoder for query and title, or 'small' for one that is trained",
    )
    parser.add_argument("--keep", metavar="DIR", help="keep the run there, and go on from what is there")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    sizes, calls = (SMALL_SIZES, 100) if options.small else (SIZES, 500)
    sizes = tuple(sorted(options.items)) if options.items else sizes
    with contextlib.ExitStack() as stack:
        folder = Path(options.keep or stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        figures = bench(folder, make_spec(options.encoder), sizes, (8_000 if options.small else 20_000, calls))
    print(json.dumps(figures | environment() | {"grpcio": grpc.__version__, "system": platform.system()}))


def bench(folder: Path, spec: dict[str, Any], sizes: tuple[int, ...], counts: tuple[int, int]) -> dict[str, Any]:
    """Trains, reindexes, serves and measures; `counts` are rows to train on and calls to measure."""
    import yaml

    from crossrec.components.candidate_indexer.report import IndexReport

    rows, calls = counts
    data, root, path = folder / "data", folder / "run", folder / "spec.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    if not (root / "serving" / MODEL / "1").is_dir():
        command("simulate", data, "--rows", rows, "--days", 40, "--items", SIMULATED)
        command("run", path, "--data", data, "--root", root)
    requests = requests_of(root)
    figures: dict[str, Any] = {"benchmark": "recommend_latency", "candidates": CANDIDATES, "calls": calls}
    medians = []
    version = 1
    for items in sizes:
        if items > SIMULATED:
            (folder / str(items)).mkdir(exist_ok=True)
            enlarge(data / "items.parquet", folder / str(items) / "items.parquet", items)
            started, version = time.perf_counter(), version + 1
        if not (root / "serving" / MODEL / str(version)).is_dir():
            command("reindex", path, "--data", folder / str(items), "--root", root, "--always")
            figures[f"reindex_seconds_{items}"] = round(time.perf_counter() - started, 1)
        index = IndexReport.read(str(newest_artifact(root, "CandidateIndexer", "candidate_index", "index.json")))
        found = measure(root, version, requests, calls)
        medians.append(found["p50_ms"])
        figures[f"index_{items}"] = index.type
        figures |= {f"{name}_{items}": round(value, 3) for name, value in found.items()}
        shares = ", ".join(
            f"{name[6:]} {100 * value:.0f} %" for name, value in found.items() if name.startswith("share")
        )
        print(
            f"{items:>9,} items ({index.type}): p50 {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms, with two "
            f"clients p99 {found['p99_ms_two_clients']:.2f} ms; in the graph {found['graph_ms']:.2f} ms: {shares}",
            flush=True,
        )
    if len(sizes) > 1:
        figures["growth"] = round(float(np.polyfit(np.log10(sizes), np.log10(medians), 1)[0]), 3)
    return figures


if __name__ == "__main__":
    main()
