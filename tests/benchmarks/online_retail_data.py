"""Online Retail: cleaning, split and baselines, as one function each.

    python -m tests.benchmarks.online_retail_data [--data DIR] [--small]

prints popularity, ItemCF and EASE^R on new items only. The last line is one flat JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
import scipy.sparse as sparse

from crossrec.components.evaluation.baselines import Ease, ItemCF, Popularity
from crossrec.components.evaluation.metrics import RaggedItems, compare_paired, mean_interval, ranking_metrics

# What a customer did not order as a product: postage, discounts, manual entries, fees, donations, samples.
NON_PRODUCTS = ("POST", "DOT", "M", "m", "C2", "D", "S", "B", "BANK CHARGES", "AMAZONFEE", "CRUK", "PADS")

# Every line must pass all of them: (column, operator, value).
FILTERS = (
    ("InvoiceNo", "not_starts_with", "C"),
    ("CustomerID", "not_null", None),
    ("Quantity", ">", 0),
    ("UnitPrice", ">", 0),
    ("StockCode", "not_in", NON_PRODUCTS),
)
TEST_STARTS = "2011-11-09"
K = 20


@dataclass(frozen=True)
class Protocol:
    """The task of a baseline or model: what each customer bought before, and which new items they bought after.

    Attributes:
      customers: int64 [Q], ids of the customers who are asked about.
      items: str [I], the stock codes sold in training, in the order of the item indices.
      train: CSR [all training customers, I], 1 where the customer bought the item.
      history: CSR [Q, I], the rows of ``train`` of the customers asked about.
      relevant: Items that each of the Q customers bought after the split and never before.
    """

    customers: np.ndarray
    items: np.ndarray
    train: sparse.csr_matrix
    history: sparse.csr_matrix
    relevant: RaggedItems


def find_data(given: str | None = None) -> Path:
    """Find the Parquet file under ``given`` or ``$CROSSREC_DATA``."""
    folder = given or os.environ.get("CROSSREC_DATA")
    if not folder:
        raise FileNotFoundError("CROSSREC_DATA: not set; set it to the folder with online_retail/, or give --data")
    path = Path(folder) / "online_retail" / "online_retail.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; set CROSSREC_DATA to the folder with online_retail/")
    return path


def keep(lines: pd.DataFrame, column: str, operator: str, value: object) -> pd.Series:
    """Apply one filter: True for the lines that pass."""
    values = lines[column]
    if operator == "not_null":
        return values.notna()
    if operator == ">":
        return values > value
    if operator == "not_starts_with":
        return ~values.str.startswith(value)
    if operator == "not_in":
        return ~values.isin(value)
    raise ValueError(f"operator: {operator!r} is unknown")


def load_purchases(path: Path) -> pd.DataFrame:
    """Read the file and keep the lines that pass all filters."""
    lines = pd.read_parquet(path)
    passed = np.logical_and.reduce([keep(lines, *rule) for rule in FILTERS])
    return lines[passed].astype({"CustomerID": "int64"})


def lines_failing(path: Path) -> dict[str, int]:
    """Count the lines that each filter alone refuses."""
    lines = pd.read_parquet(path)
    return {
        " ".join([column, operator]): int((~keep(lines, column, operator, value)).sum())
        for column, operator, value in FILTERS
    }


def build_protocol(purchases: pd.DataFrame) -> Protocol:
    """Split by time and index: customers and items of training only, and among the test's purchases the new ones."""
    before = purchases["InvoiceDate"] < pd.Timestamp(TEST_STARTS)
    past, future = purchases[before], purchases[~before]
    train_customers, rows = np.unique(past["CustomerID"], return_inverse=True)
    items, columns = np.unique(past["StockCode"].astype(str), return_inverse=True)
    train = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(train_customers), len(items)))
    train.data[:] = 1.0

    row = pd.Series(np.arange(len(train_customers)), train_customers).reindex(future["CustomerID"]).to_numpy()
    column = pd.Series(np.arange(len(items)), items).reindex(future["StockCode"].astype(str)).to_numpy()
    known = ~(np.isnan(row) | np.isnan(column))
    pairs = np.stack([row[known], column[known]], axis=1).astype(np.int64)
    pairs = pairs[np.asarray(train[pairs[:, 0], pairs[:, 1]]).ravel() == 0]
    asked, query = np.unique(pairs[:, 0], return_inverse=True)
    relevant = RaggedItems.from_pairs(query, pairs[:, 1], len(asked))
    return Protocol(train_customers[asked], items, train, train[asked], relevant)


def recommend_baselines(protocol: Protocol, neighbours: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
    """Recommend K new items to every customer asked about, with each baseline: int64 [Q, K] by name."""
    fitted = {
        "popularity": Popularity.fit(protocol.train),
        "itemcf": ItemCF.fit(protocol.train),
        **{f"itemcf_{n}": ItemCF.fit(protocol.train, neighbours=n) for n in neighbours},
        "ease": Ease.fit(protocol.train, l2=300.0),
    }
    return {name: baseline.recommend(protocol.history, K) for name, baseline in fitted.items()}


def measure(protocol: Protocol, top_items: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Compute every metric of every list, one value per customer."""
    return {name: ranking_metrics(top, protocol.relevant, [K]) for name, top in top_items.items()}


def main() -> None:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description="Baselines on Online Retail, new items only.")
    parser.add_argument("--data", help="folder that holds online_retail/; default: $CROSSREC_DATA")
    parser.add_argument("--small", action="store_true", help="the same without the ItemCF variants")
    arguments = parser.parse_args()
    try:
        path = find_data(arguments.data)
    except FileNotFoundError as error:
        sys.exit(str(error))
    started = time.perf_counter()
    purchases = load_purchases(path)
    protocol = build_protocol(purchases)
    print(f"{len(purchases):,} purchase lines; refused by each filter alone: {lines_failing(path)}")
    print(
        f"train {protocol.train.shape[0]:,} customers x {protocol.train.shape[1]:,} items, "
        f"{protocol.train.nnz:,} "
        f"pairs; {len(protocol.customers):,} customers bought {len(protocol.relevant.items):,} new items "
        "after"
    )
    measured = measure(protocol, recommend_baselines(protocol, () if arguments.small else (20, 50, 100)))
    figures: dict[str, object] = {}
    for name, metrics in measured.items():
        for metric, values in metrics.items():
            figures[f"{name}_{metric}"] = round(float(values.mean()), 5)
        interval = mean_interval(metrics[f"ndcg@{K}"])
        versus = compare_paired(measured["popularity"][f"ndcg@{K}"], metrics[f"ndcg@{K}"])
        print(
            f"{name:11s}"
            + " ".join(f"{metric} {values.mean():.4f}" for metric, values in metrics.items())
            + f"  ndcg 95% {interval.low:.4f}-{interval.high:.4f}, over popularity {versus.difference:+.4f}"
        )
    figures |= {
        "customers": len(protocol.customers),
        "items": len(protocol.items),
        "train_customers": protocol.train.shape[0],
        "train_pairs": int(protocol.train.nnz),
        "purchase_lines": len(purchases),
        "seconds": round(time.perf_counter() - started, 1),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
