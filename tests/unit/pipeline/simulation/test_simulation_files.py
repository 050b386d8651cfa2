from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from crossrec.pipeline.simulation import SimulationConfig, SimulationError, load_rows, load_truth, simulate
from crossrec.pipeline.simulation.tables import INTERACTIONS_SCHEMA, ITEMS_SCHEMA

from .conftest import Market


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_equal_configurations_give_equal_bytes_and_other_seeds_other_bytes(tmp_path: Path, form: str) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        simulate(SimulationConfig(rows=5_000, seed=seed, format=form), tmp_path / name)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    other = digests(tmp_path / "c")
    assert other.keys() == digests(tmp_path / "a").keys()
    assert all(other[name] != digest for name, digest in digests(tmp_path / "a").items())


@pytest.mark.parametrize("rows", [100, 101, 999, 12_345])
def test_the_number_of_rows_is_exact(tmp_path: Path, rows: int) -> None:
    truth = simulate(SimulationConfig(rows=rows), tmp_path / "out")
    assert load_rows(tmp_path / "out").num_rows == rows == truth.totals["rows"]


def test_files_have_the_documented_schema_and_time_order(market: Market) -> None:
    part = pq.read_table(market.folder / "interactions" / "part-00000.parquet")
    assert part.schema.equals(INTERACTIONS_SCHEMA)
    assert pq.read_table(market.folder / "items.parquet").schema.equals(ITEMS_SCHEMA)
    assert (np.diff(market.rows.timestamp) >= 0).all()
    assert market.rows.timestamp.between(market.config.start, market.config.end - 1).all()
    assert market.rows.request_id.is_monotonic_increasing


def test_rows_are_cut_into_parts_and_row_groups(tmp_path: Path) -> None:
    config = SimulationConfig(rows=10_500, chunk_rows=1_000, rows_per_file=4_000)
    simulate(config, tmp_path / "out")
    parts = sorted((tmp_path / "out" / "interactions").iterdir())
    assert [part.name for part in parts] == [f"part-{number:05d}.parquet" for number in range(3)]
    metadata = [pq.read_metadata(part) for part in parts]
    assert [entry.num_rows for entry in metadata] == [4_000, 4_000, 2_500]
    groups = [entry.row_group(group).num_rows for entry in metadata for group in range(entry.num_row_groups)]
    assert groups == [1_000] * 10 + [500]
    rows = load_rows(tmp_path / "out").to_pandas()
    assert (np.diff(rows.timestamp) >= 0).all()
    assert (rows.groupby("request_id").timestamp.nunique() == 1).all()


def test_csv_holds_the_same_values_as_parquet(tmp_path: Path) -> None:
    simulate(SimulationConfig(rows=2_000, format="parquet"), tmp_path / "parquet")
    simulate(SimulationConfig(rows=2_000, format="csv"), tmp_path / "csv")
    for name in ("interactions/part-00000", "items"):
        wanted = pq.read_table(tmp_path / "parquet" / f"{name}.parquet").to_pandas()
        strings = {column: "string" for column in wanted.columns if wanted[column].dtype == object}
        convert = pa_csv.ConvertOptions(column_types=strings, strings_can_be_null=False)
        got = pa_csv.read_csv(tmp_path / "csv" / f"{name}.csv", convert_options=convert).to_pandas()
        assert list(got.columns) == list(wanted.columns)
        for column in wanted.columns:
            if wanted[column].dtype == object and isinstance(wanted[column].iloc[0], np.ndarray):
                assert got[column].tolist() == ["|".join(values) for values in wanted[column]]
            elif wanted[column].dtype == np.float32:
                np.testing.assert_allclose(got[column], wanted[column], rtol=1e-6)
            else:
                assert got[column].tolist() == wanted[column].tolist()


def test_the_truth_file_says_what_simulate_returned(market: Market) -> None:
    assert load_truth(market.folder) == market.truth
    content = json.loads((market.folder / "truth.json").read_text(encoding="utf-8"))
    assert content["config"]["users"] == 4_000
    assert content["config"]["rows"] == 200_000
    assert content["totals"]["click_rate"] == pytest.approx(market.rows.clicked.mean(), abs=1e-6)
    assert content["totals"]["requests"] == market.rows.request_id.nunique()
    assert content["totals"]["users"] == market.rows.user_id.nunique()


def test_reading_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match=r"part-\*\.parquet; give the folder"):
        load_rows(tmp_path)
    with pytest.raises(SimulationError, match="truth.json: cannot be read"):
        load_truth(tmp_path)
    (tmp_path / "truth.json").write_text("{}")
    with pytest.raises(SimulationError, match="is not a truth file of this version"):
        load_truth(tmp_path)
