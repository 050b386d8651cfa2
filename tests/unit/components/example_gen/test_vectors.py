"""Vectors from CSV and Parquet: whole, or missing, or refused in the user's words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossrec.components.errors import DataError
from crossrec.components.example_gen.config import RawColumn
from tests.unit.components.example_gen.support import items_frame, make_config, read_rows, run_items, write_tables

PICTURE = (RawColumn(name="picture", kind="floats", width=3),)
VECTORS = [None if row % 4 == 3 else [row / 2, -float(row), 1e-3] for row in range(10)]


def vectors(examples):
    return [row.get("picture", []) for row in read_rows(examples, "train")]


def from_csv(folder, texts):
    write_tables(folder, items=items_frame().assign(picture=texts))
    config = make_config(items={"separators": {"picture": " "}})
    return run_items(config, folder, folder / "out", PICTURE)


def test_csv_and_parquet_give_the_same_vectors(tmp_path):
    texts = ["" if vector is None else " ".join(map(str, vector)) for vector in VECTORS]
    found = vectors(from_csv(tmp_path / "csv", texts))
    expected = [[] if vector is None else np.array(vector, np.float32).tolist() for vector in VECTORS]
    assert found == expected
    # Arrow writes no lists of fixed size that are null.
    whole = [vector or [0.0, 0.0, 0.0] for vector in VECTORS]
    for kind, given in ((pa.list_(pa.float64()), VECTORS), (pa.list_(pa.float32(), 3), whole)):
        folder = tmp_path / ("fixed" if given is whole else "open")
        folder.mkdir()
        table = pa.Table.from_pandas(items_frame()).append_column("picture", pa.array(given, kind))
        pq.write_table(table, folder / "items.parquet")
        config = make_config(items={"path": "items.parquet"})
        found = vectors(run_items(config, folder, folder / "out", PICTURE))
        assert found == [vector or [0.0, 0.0, 0.0] if given is whole else vector for vector in expected]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1 2", ["'picture' has no 3 numbers in 1 row", "row 6 of", "'dimension'"]),
        ("1 2 3 4", ["'picture' has no 3 numbers in 1 row", "row 6 of", "'dimension'"]),
        ("1 nan 3", ["'picture' has a missing number", "1 row", "row 6 of", "leave the whole vector out"]),
        ("1 inf 3", ["'picture' has a missing number, or one infinite", "row 6 of"]),
        ("1 1e39 3", ["too large for float32", "row 6 of"]),
        ("1 x 3", ["'x'", "a number", "row 6 of"]),
    ],
)
def test_what_is_no_vector_is_refused_with_its_row(tmp_path, text, parts):
    texts = ["1 2 3"] * 10
    texts[2], texts[5] = "", text
    with pytest.raises(DataError) as caught:
        from_csv(tmp_path, texts)
    for part in ("features.picture", *parts):
        assert part in str(caught.value)
