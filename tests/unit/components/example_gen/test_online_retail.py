"""A real shop's lines, dirty as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import tensorflow as tf

from crossrec.components.example_gen.checks import check_inputs
from crossrec.components.example_gen.config import DataConfig, RawColumn
from crossrec.components.example_gen.report import read_report
from tests.unit.components.example_gen.support import run_interactions, run_items

DATA = os.environ.get("CROSSREC_DATA", "")
FILE = "online_retail/online_retail.parquet"
pytestmark = pytest.mark.skipif(not Path(DATA, FILE).is_file(), reason=f"CROSSREC_DATA does not hold {FILE}")

CONFIG = DataConfig.model_validate(
    {
        "interactions": {
            "path": FILE,
            "user": "CustomerID",
            "item": "StockCode",
            "timestamp": "InvoiceDate",
            "request": "InvoiceNo",
            "filters": [
                {"column": "InvoiceNo", "op": "not_matches", "value": "^C"},
                {"column": "UnitPrice", "op": "greater", "value": 0},
                {"column": "Quantity", "op": "greater", "value": 0},
                {"column": "CustomerID", "op": "present"},
            ],
        },
        "items": {"path": FILE, "item": "StockCode", "duplicates": "first"},
        "split": {"validation_from": "2011-10-25", "test_from": "2011-11-09"},
        "history": {"max_length": 20},
    }
)


def test_online_retail(tmp_path):
    item_columns = (RawColumn(name="Description", kind="string"), RawColumn(name="UnitPrice", kind="float"))
    columns = (RawColumn(name="Country", kind="string"),)
    check_inputs(CONFIG, DATA, item_columns, columns)
    items = run_items(CONFIG, Path(DATA), tmp_path / "items", item_columns)
    interactions = run_interactions(CONFIG, Path(DATA), tmp_path / "interactions", items, columns)

    frame = pd.read_parquet(Path(DATA, FILE))
    assert read_report(items.uri).items == frame.StockCode.nunique()
    clean = frame[~frame.InvoiceNo.str.startswith("C") & (frame.UnitPrice > 0) & (frame.Quantity > 0)]
    clean = clean[clean.CustomerID.notna()]
    report = read_report(interactions.uri)
    assert report.rows_read == len(frame)
    assert report.rows_kept == len(clean) == len(frame) - sum(report.dropped.values())
    assert report.users == clean.CustomerID.nunique()
    assert report.items == clean.StockCode.nunique()
    test = clean[clean.InvoiceDate >= "2011-11-09"]
    assert report.splits["test"].rows == len(test)

    names = ("CustomerID", "InvoiceNo", "StockCode")
    files = sorted(str(path) for path in Path(interactions.uri, "Split-test").iterdir())
    records = tf.data.TFRecordDataset(files, "GZIP").batch(len(test) + 1).get_single_element()
    parsed = tf.io.parse_example(records, {name: tf.io.FixedLenFeature([], tf.string) for name in names})
    pairs = sorted(zip(*(parsed[name].numpy().astype(str) for name in names), strict=True))
    ids = test.CustomerID.astype(int).astype(str)
    assert pairs == sorted(zip(ids, test.InvoiceNo, test.StockCode, strict=True))
