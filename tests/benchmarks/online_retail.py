"""Online Retail, new items only: the published bundle beside popularity, ItemCF and EASE^R on the same split.

The pipeline of the example runs for each seed; then the bundle that it published is asked for every customer
of the protocol of ``online_retail_data``, as the customer stood on the first day of the test.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

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


def ask_bundle(version: Path, purchases: pd.DataFrame, protocol: data.Protocol, length: int) -> np.ndarray:
    """What a published bundle recommends to each customer: rows of the protocol's items, [Q, K], -1 for others."""
    import tensorflow as tf

    recommend = tf.saved_model.load(str(version)).signatures["recommend"]
    recent, countries = histories(purchases, protocol, length)
    rows = {item: row for row, item in enumerate(protocol.items)}
    moment = int(pd.Timestamp(data.TEST_STARTS, tz="UTC").timestamp())
    lists = []
    for start in range(0, len(recent), 64):
        chosen = range(start, min(start + 64, len(recent)))
        excluded = [protocol.items[protocol.history[query].indices] for query in chosen]
        answer = recommend(
            CustomerID=tf.constant([str(int(protocol.customers[query])) for query in chosen]),
            Country=tf.constant([countries[query] for query in chosen]),
            InvoiceDate=tf.fill([len(chosen)], tf.constant(moment, tf.int64)),
            recent_items=tf.ragged.constant([recent[query] for query in chosen], tf.string).to_tensor(""),
            exclude_items=tf.ragged.constant([list(items) for items in excluded], tf.string).to_tensor(""),
        )["item_ids"].numpy()
        lists += [[rows.get(item.decode("utf-8"), -1) for item in line] for line in answer]
    return _padding_last(np.array(lists, np.int64)[:, : data.K])


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
        with tempfile.TemporaryDirectory() as root:
            run(spec, path.parent, Path(root))
            version = Path(root) / "serving" / spec["serving"]["model_name"] / "1"
            length = spec["features"]["query"]["recent_items"]["max_length"]
            top = {"bundle": ask_bundle(version, purchases, protocol, length)}
        for metric, values in data.measure(protocol, top)["bundle"].items():
            figures.setdefault(metric, []).append(float(np.nanmean(values)))
        print(f"seed {seed}: " + ", ".join(f"{m} {figures[m][-1]:.4f}" for m in figures if "_" not in m), flush=True)
    result = mean_and_sd(figures)
    result["ratio_to_ease"] = round(result["ndcg@20"] / result["ease_ndcg@20"], 4)
    print(json.dumps({**result, "seeds": seeds, "seconds": round(time.perf_counter() - started, 1), **environment()}))


if __name__ == "__main__":
    main()
