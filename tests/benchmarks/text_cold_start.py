"""What text alone knows of items and users that training has never seen, on the simulated marketplace.

A tenth of the items and a tenth of the users lose everything that they did before the test period. A request then
carries a query and nothing else, as one of a visitor who has just come. Measured are the clicks of the test period on
new items, on known ones, and those of new users: the share whose item is in the served bundle's list for their query.
Beside it stand retrieval alone, the same bundle without the query, which is then the same list for everybody,
popularity in training, popularity as it turned out in the test period, which nobody knows beforehand, and chance.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.benchmarks.runs import example, newest_bundle, over_seeds, run, simulate

ROWS, SMALL_ROWS = 100_000, 8_000
SHARE, K = 0.1, 20
VALIDATION_FROM, TEST_FROM = 0.7, 0.8
KINDS = ("new_item", "new_user", "known")


def hide(data: Path, seed: int) -> tuple[pd.DataFrame, int, tuple[int, int]]:
    """Takes the chosen items and users out of all but the test period, in the files themselves.

    Returns:
        The test period's clicks that follow a query, with ``new_item``, ``new_user`` and ``known`` (neither of both),
        and ``popular`` where the item is among the K most clicked ones of training; the number of items; and the
        first moments of validation and test.
    """
    files = sorted((data / "interactions").glob("*.parquet"))
    tables = [pd.read_parquet(path) for path in files]
    rows = pd.concat(tables)
    cuts = int(rows["timestamp"].quantile(VALIDATION_FROM)), int(rows["timestamp"].quantile(TEST_FROM))
    items = pd.read_parquet(data / "items.parquet")["item_id"].to_numpy()
    users = np.sort(rows["user_id"].unique())
    rng = np.random.default_rng(seed)
    hidden = {
        "new_item": ("item_id", set(rng.choice(items, int(SHARE * len(items)), replace=False))),
        "new_user": ("user_id", set(rng.choice(users, int(SHARE * len(users)), replace=False))),
    }
    for path, table in zip(files, tables):
        new = np.logical_or.reduce([table[column].isin(chosen) for column, chosen in hidden.values()])
        table[~new | (table["timestamp"] >= cuts[1])].to_parquet(path, index=False)
    clicks = rows[(rows["clicked"] == 1) & (rows["query"].fillna("") != "")].copy()
    for kind, (column, chosen) in hidden.items():
        clicks[kind] = clicks[column].isin(chosen)
    clicks["known"] = ~clicks[list(hidden)].any(axis=1)
    seen = clicks[(clicks["timestamp"] < cuts[0]) & clicks["known"]]
    clicks = clicks[clicks["timestamp"] >= cuts[1]]
    clicks["popular"] = clicks["item_id"].isin(seen["item_id"].value_counts().index[:K])
    return clicks, len(items), cuts


def ask(signature: Any, queries: list[str], batch: int = 64) -> list[list[str]]:
    """The lists of a bundle's signature for requests that carry a query only."""
    import tensorflow as tf

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
        lists += [[item.decode("utf-8") for item in row[:K]] for row in found]
    return lists


def recall(clicks: pd.DataFrame, bundle: Path) -> dict[str, float]:
    """Share of the clicks whose item is in the list for their query: of the bundle, of retrieval, and for no query."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    signatures = tf.saved_model.load(str(bundle)).signatures
    queries = sorted(clicks["query"].unique())
    lists = {
        "": dict(zip(queries, ask(signatures["recommend"], queries))),
        "retrieval_": dict(zip(queries, ask(signatures["retrieve"], queries))),
        "without_query_": dict.fromkeys(queries, ask(signatures["recommend"], [""])[0]),
    }
    figures = {}
    for name, found in lists.items():
        hits = np.array([item in found[query] for query, item in zip(clicks["query"], clicks["item_id"])])
        figures |= {f"{name}{kind}_recall@{K}": float(hits[clicks[kind]].mean()) for kind in KINDS}
    return figures


def popularity(clicks: pd.DataFrame) -> dict[str, float]:
    """The same of the items most clicked in training, and of those most clicked by what is measured itself."""
    figures = {}
    for kind in KINDS:
        chosen = clicks[clicks[kind]]
        figures[f"popularity_{kind}_recall@{K}"] = float(chosen["popular"].mean())
        most = chosen["item_id"].value_counts()[:K].sum()
        figures[f"hindsight_popularity_{kind}_recall@{K}"] = float(most / len(chosen))
    return figures


def make_spec(cuts: tuple[int, int], seed: int) -> dict[str, Any]:
    """The example's spec, made for new items and users."""
    spec = example("marketplace")
    spec["data"]["split"] = {"validation_from": cuts[0], "test_from": cuts[1]}
    spec["retrieval"]["query"]["cold_start"] = {"features": ["user_id"]}
    spec["retrieval"]["item"]["cold_start"] = {"features": ["item_id"]}
    spec["evaluation"]["thresholds"] = []
    spec["crosses"].pop("auto")
    for section in ("retrieval", "ranking"):
        spec[section]["training"]["seed"] = seed
    return spec


def compare(seed: int, rows: int, folder: Path) -> dict[str, float]:
    """The figures of one seed."""
    data, root = folder / f"data-{seed}", folder / f"root-{seed}"
    simulate(data, rows, seed)
    clicks, items, cuts = hide(data, seed)
    run(make_spec(cuts, seed), data, root)
    figures = {f"{kind}_clicks": float(clicks[kind].sum()) for kind in KINDS}
    return {**figures, **recall(clicks, newest_bundle(root)), **popularity(clicks), f"chance_recall@{K}": K / items}


if __name__ == "__main__":
    over_seeds(compare, (ROWS, SMALL_ROWS), __doc__)
