"""Dates, keys, results and the command of a backfill, without running a pipeline."""

from __future__ import annotations

import json

import pytest

from crossrec.components.example_gen.files import fingerprint
from crossrec.pipeline.backfill import Entry, dates, key_of, read_entries, table, write_entries
from crossrec.pipeline.cli.main import main
from crossrec.pipeline.cli.run import at_window
from crossrec.pipeline.simulation import SimulationConfig, simulate
from crossrec.pipeline.spec.load import load_spec, parse_spec
from tests.end_to_end.marketplace import spec_content, write_spec


def entry(until: str, key: str = "k", **values: object) -> Entry:
    metrics = {"end_to_end/ndcg@10": 0.25, "ranking/click/auc": 0.7, "ranking/click/log_loss": 0.4}
    rows = {"train": 900, "test": 100}
    content = {"until": until, "key": key, "blessed": True, "version": 3, "seconds": 61.2, "rows": rows}
    return Entry.model_validate({**content, "metrics": metrics, **values})


@pytest.mark.parametrize(
    ("first", "last", "every", "expected"),
    [
        ("2025-02-27", "2025-03-01", 1, ["2025-02-27", "2025-02-28", "2025-03-01"]),
        ("2025-02-27", "2025-03-05", 7, ["2025-02-27"]),
        ("8", "12", 2, ["8", "10", "12"]),
        ("2025-02-27", "2025-02-27", 1, ["2025-02-27"]),
    ],
)
def test_dates_run_from_the_first_to_the_last(first, last, every, expected):
    assert list(dates(first, last, every)) == expected


@pytest.mark.parametrize(("first", "last"), [("2025-03-01", "2025-02-27"), ("12", "2025-02-27"), ("soon", "later")])
def test_dates_that_are_none_are_refused(first, last):
    with pytest.raises(ValueError, match=r"Swap them|is no day"):
        list(dates(first, last, 1))


def test_a_date_is_finished_only_for_the_same_spec_data_and_purpose():
    spec = parse_spec(spec_content())
    other = parse_spec(spec_content({"ranking.dropout": 0.2}))
    keys = {key_of(spec, "a", False), key_of(other, "a", False), key_of(spec, "b", False), key_of(spec, "a", True)}
    assert len(keys) == 4 and key_of(parse_spec(spec_content()), "a", False) in keys


def test_results_come_back_from_their_file_and_stand_in_a_table(tmp_path):
    entries = [entry("2025-06-28"), entry("2025-06-29", "other", version=None, blessed=False)]
    write_entries(tmp_path / "deep" / "backfill.json", entries)
    assert read_entries(tmp_path / "deep" / "backfill.json") == entries
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["backfill.json"]
    head, *lines = (line.split() for line in table(entries).splitlines())
    assert head == ["until", "rows", "ndcg@10", "click/auc", "blessed", "version", "seconds"]
    assert lines == [
        ["2025-06-28", "1,000", "0.2500", "0.7000", "yes", "3", "61"],
        ["2025-06-29", "1,000", "0.2500", "0.7000", "no", "61"],
    ]


def test_a_file_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "backfill.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(ValueError, match=r"backfill\.json: holds no results"):
        read_entries(tmp_path / "backfill.json")


@pytest.fixture(scope="module")
def by_day(tmp_path_factory):
    """A small marketplace with a folder for each of ten days, and its spec."""
    folder = tmp_path_factory.mktemp("by-day")
    simulate(SimulationConfig(rows=2_000, days=10, by_day=True), folder / "data")
    changes = {"data.interactions.path": "interactions/{date}", "data.split": {"validation_days": 1, "test_days": 1}}
    return write_spec(folder / "spec.yaml", changes), folder / "data"


def test_a_date_without_data_stops_the_backfill_and_says_what_there_is(by_day, tmp_path, capfd):
    spec, data = by_day
    arguments = ["backfill", spec, "--data", data, "--root", tmp_path, "--from", "2025-07-10", "--to", "2025-07-11"]
    assert main([*map(str, arguments), "--window", "3"]) == 2
    out, error = capfd.readouterr()
    assert "there is nothing from 2025-07-08 to 2025-07-10" in error and "2025-06-20 to 2025-06-29" in error
    assert "stopped at 2025-07-10: 0 of 2 dates are finished" in error
    assert not (tmp_path / "backfill.json").exists() and "no date is finished" in out


def test_finished_dates_are_told_and_not_run_again(by_day, tmp_path, capfd):
    path, data = by_day
    spec = load_spec(path)
    done = []
    for number, day in enumerate(("2025-06-27", "2025-06-29")):
        narrowed = at_window(spec, str(data), until=day, days=4)
        key = key_of(narrowed, fingerprint(narrowed.data, str(data)), publish=False)
        done.append(entry(day, key, seconds=70.0 + number))
    write_entries(tmp_path / "results.json", [entry("2024-01-01", "of another spec"), *done])
    before = (tmp_path / "results.json").read_bytes()
    places = ["--data", data, "--root", tmp_path / "run", "--json", tmp_path / "results.json", "--window", 4]
    arguments = ["backfill", path, *places, "--from", "2025-06-27", "--to", "2025-06-30", "--every", 2]
    assert main([*map(str, arguments)]) == 0
    out, error = capfd.readouterr()
    assert error == "" and out.count("finished before, not run again") == 2
    assert out.endswith(f"\n{table(done)}\n\nAll figures: {tmp_path / 'results.json'}\n")
    assert (tmp_path / "results.json").read_bytes() == before and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "2025-06-20", "--to", "2025-06-10"], "--from 2025-06-20 is later"),
        (["--from", "2025-06-20", "--to", "2025-06-21", "--every", "0"], "--every"),
    ],
)
def test_wrong_dates_are_refused_before_anything_runs(by_day, tmp_path, capfd, arguments, said):
    spec, data = by_day
    assert main(["backfill", str(spec), "--data", str(data), "--root", str(tmp_path), *arguments]) == 2
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "2025-06-25"], ""),
        (["--since", "2025-06-25", "--until", "2025-06-28"], ""),
        (["--since", "2025-07-01"], "there is nothing from 2025-07-01"),
        (["--until", "2025-06-01"], "there are 10 spans, 2025-06-20 to 2025-06-29"),
        (["--since", "June"], "'June' is no day"),
    ],
)
def test_a_run_reads_the_period_that_it_is_given(by_day, capfd, arguments, said):
    spec, data = by_day
    code = main(["run", str(spec), "--data", str(data), "--check", *arguments])
    out, error = capfd.readouterr()
    assert (code, said in error) == ((2, True) if said else (0, True)), error
    assert said or "spec and data are fine" in out


def test_a_simulation_by_day_has_the_same_rows_in_a_folder_for_each(by_day, tmp_path):
    import pandas as pd

    _, data = by_day
    simulate(SimulationConfig(rows=2_000, days=10), tmp_path / "whole")
    whole = pd.concat(map(pd.read_parquet, sorted((tmp_path / "whole" / "interactions").glob("*.parquet"))))
    parts = {path.name: pd.read_parquet(path) for path in sorted((data / "interactions").iterdir())}
    for day, rows in parts.items():
        assert set(pd.to_datetime(rows["timestamp"], unit="s").dt.strftime("%Y-%m-%d")) == {day}
    joined = pd.concat(parts.values())
    pd.testing.assert_frame_equal(joined.reset_index(drop=True), whole.reset_index(drop=True))
