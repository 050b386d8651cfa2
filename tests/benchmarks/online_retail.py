"""Online Retail, new items only: the bundle, with and without explicit crosses, beside popularity, ItemCF and EASE^R.

The pipeline of the example runs for each seed, and once more with a ranking model that sees no explicit cross; then
each bundle is asked for every customer of the protocol of ``online_retail_data``, as the customer stood on the first
day of the test. Retrieval alone is asked too.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tests.benchmarks import online_retail_data as data
from tests.benchmarks.runs import environment, example, mean_and_sd, run


def histories(purchases: pd.DataFrame, protocol: data.Protocol, length: int) -> tuple[list[list[str]], list[str]]:
    """Each customer's distinct items before the test, the latest first bought first, and the country."""
    past = purchases[purchases["InvoiceDate"] < pd.Timestamp(data.TEST_STARTS)]
    past = past.assign(StockCode=past["StockCode"].astype(str)).sort_values("InvoiceDate", kind="stable")
    firsts = past.drop_duplicates(["CustomerID", "StockCode"]).groupby("CustomerID")["StockCode"].agg(list)
    country = past.groupby("CustomerID")["Country"].last()
    recent = [firsts[customer][::-1][:length] for customer in protocol.customers]
    return recent, [country[customer] for customer in protocol.customers]


def ask_bundle(
    bundle: Path, purchases: pd.DataFrame, protocol: data.Protocol, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """What a bundle recommends and what it retrieves: rows of the protocol's items, [Q, K] each, -1 for others."""
    import tensorflow as tf

    signatures = tf.saved_model.load(str(bundle)).signatures
    recent, countries = histories(purchases, protocol, length)
    rows = {item: row for row, item in enumerate(protocol.items)}
    moment = int(pd.Timestamp(data.TEST_STARTS, tz="UTC").timestamp())
    lists: dict[str, list[list[int]]] = {"recommend": [], "retrieve": []}
    for start in range(0, len(recent), 64):
        chosen = range(start, min(start + 64, len(recent)))
        excluded = [protocol.items[protocol.history[query].indices] for query in chosen]
        inputs = {
            "CustomerID": tf.constant([str(int(protocol.customers[query])) for query in chosen]),
            "Country": tf.constant([countries[query] for query in chosen]),
            "InvoiceDate": tf.fill([len(chosen)], tf.constant(moment, tf.int64)),
            "recent_items": tf.ragged.constant([recent[query] for query in chosen], tf.string).to_tensor(""),
        }
        exclude = tf.ragged.constant([list(items) for items in excluded], tf.string).to_tensor("")
        for name, found in lists.items():
            answer = signatures[name](**inputs, exclude_items=exclude)["item_ids"].numpy()
            found += [[rows.get(item.decode("utf-8"), -1) for item in line] for line in answer]
    ranked, retrieved = (_padding_last(np.array(found, np.int64))[:, : data.K] for found in lists.values())
    return ranked, retrieved


def newest_bundle(root: Path) -> Path:
    """The bundle of the last run below a root, published or not."""
    found = (root / "artifacts" / "ServingBundle" / "bundle").iterdir()
    return max(found, key=lambda path: int(path.name))


def _padding_last(lists: np.ndarray) -> np.ndarray:
    """Items that the protocol does not know, such as those new in the test, leave their place to the next."""
    order = np.argsort(lists < 0, axis=1, kind="stable")
    return np.take_along_axis(lists, order, axis=1)


def main() -> None:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder that holds online_retail/; default: $CROSSREC_DATA")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="one seed, one epoch, a tenth of the lines")
    options = parser.parse_args()
    try:
        path = data.find_data(options.data)
    except FileNotFoundError as error:
        sys.exit(str(error))
    started = time.perf_counter()
    purchases = data.load_purchases(path)
    protocol = data.build_protocol(purchases)
    figures: dict[str, list[float]] = {}
    for name, metrics in data.measure(protocol, data.recommend_baselines(protocol)).items():
        for metric, values in metrics.items():
            figures[f"{name}_{metric}"] = [float(np.nanmean(values))]
    seeds = 1 if options.small else options.seeds
    for seed in range(seeds):
        spec = example("online_retail")
        for section in ("retrieval", "ranking"):
            spec[section]["training"]["seed"] = seed
            if options.small:
                spec[section]["training"]["epochs"] = 1
        if options.small:
            # About a tenth of the lines: a run for continuous integration, whose figures mean nothing.
            abroad = {"column": "Country", "op": "not_equals", "value": "United Kingdom"}
            spec["data"]["interactions"]["filters"] = [*spec["data"]["interactions"]["filters"], abroad]
        spec["evaluation"]["thresholds"] = []
        length = spec["features"]["query"]["recent_items"]["max_length"]
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            run(spec, path.parent, root)
            top = dict(zip(("bundle", "retrieval"), ask_bundle(newest_bundle(root), purchases, protocol, length)))
            # The same run but for the ranking model: the steps before it come from the cache.
            spec["ranking"]["crosses"] = []
            run(spec, path.parent, root)
            top["without_crosses"], _ = ask_bundle(newest_bundle(root), purchases, protocol, length)
        for name, metrics in data.measure(protocol, top).items():
            prefix = "" if name == "bundle" else f"{name}_"
            for metric, values in metrics.items():
                figures.setdefault(prefix + metric, []).append(float(np.nanmean(values)))
        shown = [name for name in figures if name.endswith("@20") and len(figures[name]) == seed + 1]
        print(f"seed {seed}: " + ", ".join(f"{name} {figures[name][-1]:.4f}" for name in shown), flush=True)
    result = mean_and_sd(figures)
    result["ratio_to_ease"] = round(result["ndcg@20"] / result["ease_ndcg@20"], 4)
    print(json.dumps({**result, "seeds": seeds, "seconds": round(time.perf_counter() - started, 1), **environment()}))


if __name__ == "__main__":
    main()
