"""What text alone knows of items and users that training has never seen, on the simulated marketplace.

A tenth of the items and a tenth of the users lose everything that they did before the test period. A request then
carries a query and nothing else, as one of a visitor who has just come. Measured are the clicks of the test period on
new items, and those of new users, by lists of the served bundle; beside it the same spec without the vectors of the
small encoder (hashed words stay), popularity in training, and chance.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.benchmarks.runs import COMMAND, environment, example, mean_and_sd, run

ROWS, SMALL_ROWS = 100_000, 20_000
SHARE, K = 0.1, 20
_VECTORS = ("query_vector", "title_vector")


def hide(data: Path, seed: int) -> tuple[pd.DataFrame, int, tuple[int, int]]:
    """Takes the chosen items and users out of all but the test period, in the files themselves.

    Returns:
        The test period's clicks that follow a query, with ``new_item`` and ``new_user``; the number of items; and the
        first moments of validation and test.
    """
    files = sorted((data / "interactions").glob("*.parquet"))
    tables = [pd.read_parquet(path) for path in files]
    rows = pd.concat(tables)
    cuts = tuple(int(rows["timestamp"].quantile(part)) for part in (0.8, 0.9))
    items = pd.read_parquet(data / "items.parquet")["item_id"].to_numpy()
    rng = np.random.default_rng(seed)
    new_items = set(rng.choice(items, int(SHARE * len(items)), replace=False))
    users = np.sort(rows["user_id"].unique())
    new_users = set(rng.choice(users, int(SHARE * len(users)), replace=False))
    for path, table in zip(files, tables):
        known = ~(table["item_id"].isin(new_items) | table["user_id"].isin(new_users))
        table[known | (table["timestamp"] >= cuts[1])].to_parquet(path, index=False)
    clicks = rows[(rows["timestamp"] >= cuts[1]) & (rows["clicked"] == 1) & (rows["query"] != "")].copy()
    clicks["new_item"], clicks["new_user"] = clicks["item_id"].isin(new_items), clicks["user_id"].isin(new_users)
    train = rows[(rows["timestamp"] < cuts[0]) & (rows["clicked"] == 1)]
    train = train[~(train["item_id"].isin(new_items) | train["user_id"].isin(new_users))]
    popular = train["item_id"].value_counts().index[:K]
    clicks["popular"] = clicks["item_id"].isin(popular)
    return clicks, len(items), (cuts[0], cuts[1])


def ask(root: Path, queries: list[str], batch: int = 64) -> list[list[str]]:
    """The lists of the newest published version for requests that carry a query only."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    versions = [path for path in (root / "serving" / "recommender").iterdir() if path.name.isdigit()]
    bundle = tf.saved_model.load(str(max(versions, key=lambda path: int(path.name))))
    signature = bundle.signatures["recommend"]
    missing = {tf.string: "", tf.float32: float("nan"), tf.int64: 0}
    lists: list[list[str]] = []
    for start in range(0, len(queries), batch):
        part = queries[start : start + batch]
        inputs = {
            name: tf.fill([len(part)], tf.constant(missing[spec.dtype], spec.dtype))
            if spec.shape.rank == 1
            else tf.zeros([len(part), 0], spec.dtype)
            for name, spec in signature.structured_input_signature[1].items()
        }
        found = signature(**{**inputs, "query": tf.constant(part)})["item_ids"].numpy()
        lists += [[item.decode("utf-8") for item in row] for row in found]
    return lists


def recall(clicks: pd.DataFrame, root: Path) -> dict[str, float]:
    """Share of the clicks whose item is in the list for their query."""
    queries = sorted(clicks["query"].unique())
    lists = dict(zip(queries, ask(root, queries)))
    hits = np.array([item in lists[query][:K] for query, item in zip(clicks["query"], clicks["item_id"])])
    return {f"{kind}_recall@{K}": float(hits[clicks[kind]].mean()) for kind in ("new_item", "new_user")}


def specs(cuts: tuple[int, int], seed: int, small: bool) -> dict[str, dict[str, Any]]:
    """The example's spec for new items and users, with the encoder's vectors and without."""
    spec = example("marketplace")
    spec["data"]["split"] = {"validation_from": cuts[0], "test_from": cuts[1]}
    spec["retrieval"]["query"]["cold_start"] = {"features": ["user_id"]}
    spec["retrieval"]["item"]["cold_start"] = {"features": ["item_id"]}
    spec["evaluation"]["thresholds"] = []
    spec["crosses"].pop("auto")
    for section in ("retrieval", "ranking"):
        spec[section]["training"]["seed"] = seed
        if small:
            spec[section]["training"]["epochs"] = 2
    without = json.loads(json.dumps(spec))
    for side in ("query", "item"):
        for name in _VECTORS:
            without["features"][side].pop(name, None)
        tower = without["retrieval"][side]
        tower["features"] = [name for name in tower["features"] if name not in _VECTORS]
    return {"": spec, "without_": without}


def compare(seed: int, rows: int, folder: Path, small: bool) -> dict[str, float]:
    """The figures of one seed."""
    data = folder / f"data-{seed}"
    subprocess.run([*COMMAND, "simulate", str(data), "--rows", str(rows), "--seed", str(seed)], check=True)
    clicks, items, cuts = hide(data, seed)
    figures = {f"{kind}_clicks": float(clicks[kind].sum()) for kind in ("new_item", "new_user")}
    for name, spec in specs(cuts, seed, small).items():
        if small and name:
            continue
        root = folder / f"root-{seed}-{name}"
        run(spec, data, root)
        figures |= {f"{name}{metric}": value for metric, value in recall(clicks, root).items()}
    for kind in ("new_item", "new_user"):
        figures[f"popularity_{kind}_recall@{K}"] = float(clicks.loc[clicks[kind], "popular"].mean())
    figures[f"chance_recall@{K}"] = K / items
    return figures


def main() -> None:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--small", action="store_true", help=f"one seed, {SMALL_ROWS:,} rows, only with the vectors")
    options = parser.parse_args()
    seeds, rows = (1, SMALL_ROWS) if options.small else (options.seeds, options.rows)
    started = time.perf_counter()
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            measured = compare(seed, rows, Path(folder), options.small)
            print(f"seed {seed}: " + ", ".join(f"{name} {value:.4f}" for name, value in measured.items()), flush=True)
            for name, value in measured.items():
                figures.setdefault(name, []).append(value)
    result = {"seeds": seeds, "rows": rows, "seconds": round(time.perf_counter() - started, 1)}
    print(json.dumps({**mean_and_sd(figures), **result, **environment()}))


if __name__ == "__main__":
    main()
