"""Bad data is refused in the user's words: the field, the value, what to do. Nothing is left that looks whole."""

from __future__ import annotations

import gzip
import pickle
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossrec.components.errors import DataError
from crossrec.components.example_gen.checks import check_inputs
from crossrec.components.example_gen.config import RawColumn
from crossrec.components.example_gen.files import fingerprint
from crossrec.components.example_gen.report import read_report
from tests.unit.components.example_gen.support import (
    interactions_frame,
    items_frame,
    make_config,
    run_interactions,
    run_items,
    write_tables,
)

PRICE = (RawColumn(name="price", kind="float"),)
NOW = int(time.time())
# Still in the future, by more than the day that is let pass, when the test's turn has come.
IN_A_MONTH = NOW + 30 * 86_400


def changed(column, row, value):
    frame = interactions_frame().astype({column: object})
    frame.loc[row, column] = value
    return frame


def refused_by_check(config, folder, columns=(), item_columns=()) -> str:
    with pytest.raises(DataError) as caught:
        check_inputs(config, str(folder), item_columns, columns)
    return str(caught.value)


@pytest.fixture
def refused_by_run(catalogue):
    def run(config, folder, columns=()) -> str:
        with pytest.raises(DataError) as caught:
            run_interactions(config, folder, folder / "out", catalogue, columns)
        assert not (folder / "out" / "ingest_report.json").exists()
        return str(caught.value)

    return run


# What can be seen without reading a whole table is refused before a pipeline starts.


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"path": "absent.csv"}, ["data.interactions.path", "'absent.csv'", "neither a file nor a directory"]),
        ({"path": "absent-*.csv"}, ["data.interactions.path", "'absent-*.csv'", "no file matches"]),
        ({"path": "/nowhere/x.csv"}, ["data.interactions.path", "/nowhere/x.csv", "Mend the path"]),
        ({"timestamp": "when"}, ["data.interactions.timestamp", "column 'when' is not in interactions.csv",
                                 "user_id, item_id, timestamp", "Name one of these columns"]),
        ({"labels": ["bought"]}, ["data.interactions.labels", "'bought'"]),
        ({"filters": [{"column": "colour", "op": "present"}]}, ["data.interactions.filters[0].column", "'colour'"]),
        ({"format": "parquet"}, ["data.interactions.path", "interactions.csv is not a Parquet file", "format: csv"]),
    ],
)  # fmt: skip
def test_the_check_refuses_files_and_columns_that_are_not_there(tmp_path, changes, parts, refused_by_run):
    write_tables(tmp_path)
    config = make_config(interactions=changes)
    message = refused_by_check(config, tmp_path)
    for part in parts:
        assert part in message
    assert refused_by_run(config, tmp_path).splitlines()[0] == message.splitlines()[0]


def test_the_check_passes_what_is_whole_and_takes_no_time(tmp_path):
    write_tables(tmp_path)
    began = time.process_time()
    check_inputs(make_config(), str(tmp_path), (RawColumn(name="tags", kind="strings"),), PRICE)
    assert time.process_time() - began < 5


def test_the_check_tells_of_both_tables(tmp_path):
    write_tables(tmp_path)
    message = refused_by_check(make_config(items={"item": "sku"}, interactions={"user": "who"}), tmp_path)
    assert "data.items.item: column 'sku'" in message
    assert "data.interactions.user: column 'who'" in message


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["interactions.csv is an empty file"]),
        (b"user_id,item_id,timestamp,clicked\n", ["has a header but no rows"]),
        (b"user_id,user_id,item_id,timestamp,clicked\na,b,c,5,1\n", ["'user_id' is 2 times in interactions.csv"]),
        (b"user_id,item_id,timestamp,clicked\na,b,5,1\na,b,5\n", ["interactions.csv cannot be read", "quote values"]),
        ("üser,item_id,timestamp,clicked\n".encode("latin-1"), ["first line of interactions.csv is not UTF-8"]),
    ],
)  # fmt: skip
def test_broken_csv_is_refused_by_check_and_run(tmp_path, content, parts, refused_by_run):
    write_tables(tmp_path)
    (tmp_path / "interactions.csv").write_bytes(content)
    for message in (refused_by_check(make_config(), tmp_path), refused_by_run(make_config(), tmp_path)):
        assert message.startswith("data.interactions.")
        for part in parts:
            assert part in message


def test_text_that_is_not_utf8_names_column_and_row(tmp_path):
    write_tables(tmp_path)
    frame = items_frame()
    frame.loc[4, "title"] = "café"
    frame.to_csv(tmp_path / "items.csv", index=False, encoding="latin-1")
    columns = (RawColumn(name="title", kind="string"),)
    for run in (
        lambda: check_inputs(make_config(), str(tmp_path), columns),
        lambda: run_items(make_config(), tmp_path, tmp_path / "out", columns),
    ):
        with pytest.raises(DataError) as caught:
            run()
        message = str(caught.value)
        assert "column 'title' holds b'caf\\xe9', which is not UTF-8 text (row 5 of items.csv)" in message
        assert "Write the file as UTF-8" in message


def test_a_parquet_file_that_is_none(tmp_path, refused_by_run):
    write_tables(tmp_path)
    (tmp_path / "x.parquet").write_text("no")
    config = make_config(interactions={"path": "x.parquet"})
    for message in (refused_by_check(config, tmp_path), refused_by_run(config, tmp_path)):
        assert "data.interactions.path: x.parquet is not a Parquet file" in message


def test_gzip_that_is_none_or_cut_short(tmp_path, refused_by_run):
    write_tables(tmp_path)
    whole = gzip.compress((tmp_path / "interactions.csv").read_bytes())
    for name, content in (("none.csv.gz", b"user_id,item_id"), ("cut.csv.gz", whole[:-100])):
        (tmp_path / name).write_bytes(content)
        message = refused_by_check(make_config(interactions={"path": name}), tmp_path)
        assert f"data.interactions.path: {name} cannot be read" in message


def test_mixed_formats_and_unknown_extensions(tmp_path):
    write_tables(tmp_path)
    interactions_frame().to_parquet(tmp_path / "interactions.parquet")
    assert "CSV and Parquet" in refused_by_check(make_config(interactions={"path": "interactions.*"}), tmp_path)
    (tmp_path / "interactions.txt").write_text("a")
    message = refused_by_check(make_config(interactions={"path": "interactions.txt"}), tmp_path)
    assert "data.interactions.format: missing, and the name of interactions.txt does not say" in message


@pytest.mark.parametrize(
    ("frame", "parts"),
    [
        (changed("price", 7, "cheap"), ["features.price", "'cheap'", "not a number", "row 8 of interactions.csv"]),
        (changed("price", 7, np.inf), ["features.price", "infinite", "1 row", "row 8 of", "Replace"]),
        (changed("price", 7, -1e39), ["features.price", "infinite", "1 row", "row 8 of", "Replace"]),
        (changed("price", slice(0, 99), np.nan), ["features.price", "empty (missing or NaN) in all 60 rows"]),
        (changed("timestamp", 3, "soon"), ["data.interactions.timestamp", "'soon'", "ISO-8601", "row 4 of"]),
        (changed("timestamp", 3, 0), ["data.interactions.timestamp", "zero or negative", "1 row", "row 4 of"]),
        (changed("timestamp", [3, 5], IN_A_MONTH), ["lies in the future in 2 rows", str(IN_A_MONTH), "row 4 of"]),
        (changed("timestamp", slice(0, 99), NOW * 1000), ["in the future in 60 rows", "milliseconds: divide by 1,000"]),
        (changed("timestamp", 3, ""), ["'timestamp' is missing in 1 row", "{column: timestamp, op: present}"]),
        (changed("user_id", [2, 9], ""), ["data.interactions.user", "missing in 2 rows", "row 3 of", "op: present"]),
        (changed("clicked", [4, 6], 2), ["data.interactions.labels", "'clicked'", "2 rows", "'2'", "row 5 of"]),
        (changed("clicked", 4, ""), ["data.interactions.labels", "missing in 1 row", "Write 0 where nothing"]),
        (changed("clicked", slice(0, 99), 0), ["data.interactions.labels", "is 0 in all 60 rows", "both kinds"]),
        (changed("clicked", slice(0, 99), 1), ["data.interactions.labels", "is 1 in all 60 rows", "both kinds"]),
        (changed("user_id", slice(0, 99), "me"), ["data.interactions.user", "name one user, 'me'"]),
        (changed("item_id", [1, 2, 3], ["x", "y", "x"]), ["data.interactions.item", "3 rows", "'x', 'y'", "row 2 of",
                                                           "unknown_items: drop"]),
    ],
)  # fmt: skip
def test_bad_rows_are_counted_and_shown(tmp_path, frame, parts, refused_by_run):
    write_tables(tmp_path, frame)
    message = refused_by_run(make_config(), tmp_path, PRICE)
    for part in parts:
        assert part in message
    assert "Traceback" not in message
    assert "while running" not in message
    assert len(message.splitlines()) == 1


def test_several_problems_are_told_together(tmp_path, refused_by_run):
    frame = changed("price", 7, "cheap")
    frame["device"] = "web"
    frame.loc[3, "timestamp"] = -5
    write_tables(tmp_path, frame)
    message = refused_by_run(make_config(), tmp_path, PRICE)
    assert len(message.splitlines()) == 2
    assert "data.interactions.timestamp" in message
    assert "features.price" in message


def test_problems_add_up_over_files(tmp_path, refused_by_run):
    write_tables(tmp_path)
    (tmp_path / "parts").mkdir()
    for number in range(3):
        frame = interactions_frame(seed=number)
        frame.loc[[5, 6], "timestamp"] = -number
        frame.to_parquet(tmp_path / "parts" / f"{number}.parquet")
    message = refused_by_run(make_config(interactions={"path": "parts"}), tmp_path)
    assert "in 6 rows (first: row 6 of parts/0.parquet)" in message


def test_duplicate_items_are_named(tmp_path):
    write_tables(tmp_path, items=pd.concat([items_frame(), items_frame(3), items_frame(1)]))
    with pytest.raises(DataError) as caught:
        run_items(make_config(), tmp_path, tmp_path / "out")
    message = str(caught.value)
    assert "data.items.item: 4 rows too many" in message
    assert "'i0', 'i1', 'i2'" in message
    assert "duplicates: first" in message


def test_filters_that_drop_everything_say_which(tmp_path, refused_by_run):
    write_tables(tmp_path)
    filters = [{"column": "price", "op": "greater", "value": -1}, {"column": "price", "op": "greater", "value": 9}]
    message = refused_by_run(make_config(interactions={"filters": filters}), tmp_path)
    assert "data.interactions.filters: none of 60 rows is left (dropped: price greater 9: 60)" in message


def test_a_catalogue_of_other_ids_is_told_from_a_filter(tmp_path, refused_by_run):
    write_tables(tmp_path, interactions_frame().assign(item_id="x"))
    message = refused_by_run(make_config(unknown_items="drop"), tmp_path)
    assert "data.interactions.item: none of 60 rows is left (dropped: unknown item: 60)" in message
    assert "data.items.item" in message


def test_a_filter_on_a_wrong_type_names_the_filter(tmp_path, refused_by_run):
    write_tables(tmp_path)
    filters = [{"column": "device", "op": "greater", "value": 1}]
    message = refused_by_run(make_config(interactions={"filters": filters}), tmp_path)
    assert message.startswith("data.interactions.filters[0]: column 'device' holds")


@pytest.mark.parametrize(
    ("split", "parts"),
    [
        ({"validation_from": "2030-01-01", "test_from": "2031-01-01"},
         ["data.split.validation_from", "validation and test would be empty", "2020-09-13"]),
        ({"validation_from": "2001-01-01", "test_from": "2002-01-01"}, ["train and validation would be empty"]),
        ({"validation": 0.001, "test": 0.001}, ["data.split.", "would be empty"]),
    ],
)  # fmt: skip
def test_an_empty_split_tells_the_range_of_times(tmp_path, split, parts, refused_by_run):
    write_tables(tmp_path)
    message = refused_by_run(make_config(split=split), tmp_path)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("columns", "part"),
    [
        ((RawColumn(name="clicked", kind="float"),), "is a label and also a feature"),
        ((RawColumn(name="user_id", kind="float"),), "Read it as string"),
        ((RawColumn(name="timestamp", kind="string"),), "Read it as int"),
        ((RawColumn(name="device", kind="strings"),), "separators"),
    ],
)
def test_columns_asked_for_in_two_ways_are_refused(tmp_path, columns, part):
    write_tables(tmp_path)
    assert part in refused_by_check(make_config(), tmp_path, columns)


def test_the_error_survives_pickling():
    error = DataError("a.b", "is 3", "Write 4.", ("c: is 5. Write 6.",))
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == "a.b: is 3. Write 4.\nc: is 5. Write 6."
    assert (copy.field, copy.problem, copy.mend) == ("a.b", "is 3", "Write 4.")


def test_odd_names_and_values_come_through_whole(tmp_path, refused_by_run):
    frame = interactions_frame().rename(columns={"price": "price in $ {x}"})
    frame["price in $ {x}"] = "$count"
    write_tables(tmp_path, frame)
    message = refused_by_run(make_config(), tmp_path, (RawColumn(name="price in $ {x}", kind="float"),))
    assert "column 'price in $ {x}' holds '$count', which is not a number" in message


def test_the_fingerprint_changes_with_the_input_only(tmp_path):
    write_tables(tmp_path)
    config = make_config()
    before, items = fingerprint(config, str(tmp_path)), fingerprint(config.items, str(tmp_path))
    (tmp_path / "other.csv").write_text("a\n")
    assert fingerprint(config, str(tmp_path)) == before
    with open(tmp_path / "interactions.csv", "a") as file:
        file.write("u1,i1,1600000000,1,0.5,web\n")
    assert fingerprint(config, str(tmp_path)) != before
    assert fingerprint(config.items, str(tmp_path)) == items
    with pytest.raises(DataError, match="data.items.path"):
        fingerprint(make_config(items={"path": "absent.csv"}), str(tmp_path))


def test_no_report_is_said_plainly(tmp_path):
    with pytest.raises(FileNotFoundError, match="ingest_report.json"):
        read_report(str(Path(tmp_path)))
