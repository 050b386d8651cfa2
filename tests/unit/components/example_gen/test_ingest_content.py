"""What is written is what was in the files: every row once, in its split, with its history."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossrec.components.example_gen import executor, reader
from crossrec.components.example_gen.config import RawColumn
from crossrec.components.example_gen.report import read_report
from tests.unit.components.example_gen.support import (
    DAY,
    START,
    interactions_frame,
    items_frame,
    make_config,
    read_rows,
    run_interactions,
    run_items,
    write_tables,
)

SPLITS = ("train", "validation", "test")
COLUMNS = (RawColumn(name="price", kind="float"), RawColumn(name="device", kind="string"))
CUTS = {"validation_from": START + 8 * DAY, "test_from": START + 14 * DAY}


def all_rows(examples):
    return {split: read_rows(examples, split) for split in SPLITS}


def every_row(examples):
    return [row for split in SPLITS for row in read_rows(examples, split)]


def as_set(rows):
    return sorted(str(sorted(row.items())) for row in rows)


def expected_rows(frame: pd.DataFrame, length: int) -> list[dict]:
    """The rows by definition, one at a time."""
    rows = []
    for row in frame.itertuples():
        own = frame[(frame.user_id == row.user_id) & (frame.timestamp < row.timestamp) & (frame.clicked == 1)]
        recent = own.sort_values("timestamp", kind="stable").item_id.tolist()[::-1][:length]
        expected = {
            "user_id": [row.user_id],
            "item_id": [row.item_id],
            "timestamp": [row.timestamp],
            "clicked": [float(row.clicked)],
            "price": [float(np.float32(row.price))],
        }
        rows.append({**expected, **({"device": [row.device]} if row.device else {}),
                     **({"recent_items": recent} if recent else {})})  # fmt: skip
    return rows


@pytest.mark.parametrize("partition_rows", [250_000, 13])
def test_every_row_once_in_its_split_with_its_history(tmp_path, monkeypatch, partition_rows, catalogue):
    monkeypatch.setattr(executor, "PARTITION_ROWS", partition_rows)
    frame = interactions_frame(120, users=9)
    write_tables(tmp_path, frame)
    examples = run_interactions(make_config(split=CUTS), tmp_path, tmp_path / "out", catalogue, COLUMNS)
    moments = {"train": (0, 8), "validation": (8, 14), "test": (14, 10**6)}
    for split, (first, end) in moments.items():
        part = frame[(frame.timestamp >= START + first * DAY) & (frame.timestamp < START + end * DAY)]
        expected = [row for row in expected_rows(frame, 3) if row["timestamp"][0] in set(part.timestamp)]
        assert as_set(read_rows(examples, split)) == as_set(expected)
        assert len(expected) == len(part) > 0
    shards = len(list(Path(examples.uri, "Split-train").iterdir()))
    assert (shards > 1) == (partition_rows == 13)


def test_a_user_lies_in_one_shard_sorted_by_time(tmp_path, monkeypatch, catalogue):
    monkeypatch.setattr(executor, "PARTITION_ROWS", 20)
    write_tables(tmp_path, interactions_frame(150, users=20))
    examples = run_interactions(make_config(), tmp_path, tmp_path / "out", catalogue)
    rows = read_rows(examples, "train")
    users = [row["user_id"][0] for row in rows]
    runs = [user for user, before in zip(users, [None, *users], strict=False) if user != before]
    assert len(runs) == len(set(runs))
    times = [(row["user_id"][0], row["timestamp"][0]) for row in rows]
    assert all(b[1] >= a[1] for a, b in zip(times, times[1:], strict=False) if a[0] == b[0])


def test_csv_and_parquet_and_any_division_into_files_give_the_same_rows_in_order(tmp_path, monkeypatch, catalogue):
    monkeypatch.setattr(reader, "BATCH_ROWS", 7)
    frame, items = interactions_frame(100), items_frame()
    write_tables(tmp_path / "csv", frame, items)
    for name, group in (("one", 1000), ("groups", 9)):
        (tmp_path / name).mkdir()
        frame.to_parquet(tmp_path / name / "interactions.parquet", row_group_size=group)
    (tmp_path / "many" / "interactions").mkdir(parents=True)
    for number in range(4):
        part = frame.iloc[number * 25 : number * 25 + 25]
        part.to_parquet(tmp_path / "many" / "interactions" / f"part-{number}.parquet")
    (tmp_path / "many" / "interactions" / "_SUCCESS").touch()
    contents = set()
    paths = {"csv": "interactions.csv", "one": "interactions.parquet", "groups": "*.parquet", "many": "interactions"}
    for folder, path in paths.items():
        config = make_config(interactions={"path": path})
        examples = run_interactions(config, tmp_path / folder, tmp_path / "out" / folder, catalogue, COLUMNS)
        contents.add(str(all_rows(examples)))
    assert len(contents) == 1


def test_types_of_the_file_do_not_matter(tmp_path, catalogue):
    frame = interactions_frame()
    frame["user_id"] = frame.user_id.str[1:].astype(int)
    write_tables(tmp_path, frame)
    moments = pd.to_datetime(frame.timestamp, unit="s")
    variants = {
        "floats": frame.assign(user_id=frame.user_id.astype(float), timestamp=frame.timestamp.astype(float)),
        "datetimes": frame.assign(timestamp=moments, clicked=frame.clicked == 1),
        "texts": frame.assign(timestamp=moments.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), clicked=frame.clicked.astype(str)),
        "dictionary": frame.assign(item_id=frame.item_id.astype("category"), price=frame.price.astype(str)),
    }
    config = make_config()
    expected = all_rows(run_interactions(config, tmp_path, tmp_path / "plain", catalogue, COLUMNS))
    assert expected["train"][0]["user_id"][0].isdigit()
    for name, variant in variants.items():
        variant.to_parquet(tmp_path / f"{name}.parquet")
        variant.to_csv(tmp_path / f"{name}.csv", index=False)
        for extension in ("parquet", "csv") if name in ("floats", "texts") else ("parquet",):
            config = make_config(interactions={"path": f"{name}.{extension}"})
            out = tmp_path / "out" / f"{name}-{extension}"
            assert all_rows(run_interactions(config, tmp_path, out, catalogue, COLUMNS)) == expected


def test_what_is_missing_is_an_absent_feature(tmp_path, catalogue):
    frame = interactions_frame().assign(price=1.0, device="web", seen=7)
    frame["price"] = frame.price.where(frame.index % 2 == 0)
    frame["device"] = frame.device.where(frame.index % 3 == 0)
    frame["seen"] = frame.seen.where(frame.index % 5 == 0)
    write_tables(tmp_path, frame)
    columns = (*COLUMNS, RawColumn(name="seen", kind="int"))
    rows = every_row(run_interactions(make_config(), tmp_path, tmp_path / "out", catalogue, columns))
    for name, every, value in (("price", 2, 1.0), ("device", 3, "web"), ("seen", 5, 7)):
        assert sum(name in row for row in rows) == len(range(0, len(frame), every))
        assert all(row[name] == [value] for row in rows if name in row)


def test_items_are_sorted_and_multi_valued_columns_are_split(tmp_path):
    items = items_frame(12).sample(frac=1, random_state=0)
    write_tables(tmp_path, items=items)
    columns = (RawColumn(name="tags", kind="strings"), RawColumn(name="title", kind="string"))
    examples = run_items(make_config(), tmp_path, tmp_path / "out", columns)
    rows = read_rows(examples, "train")
    ids = [row["item_id"][0] for row in rows]
    assert ids == sorted(items.item_id)
    tags = {row["item_id"][0]: row.get("tags", []) for row in rows}
    assert tags == {item: text.split("|") if text else [] for item, text in zip(items.item_id, items.tags, strict=True)}


@pytest.mark.parametrize(("duplicates", "title"), [("first", "title 3"), ("last", "new")])
def test_duplicates_keep_the_first_or_last_in_file_order(tmp_path, duplicates, title):
    items = pd.concat([items_frame(), pd.DataFrame({"item_id": ["i3"], "title": ["new"], "tags": [""]})])
    write_tables(tmp_path, items=items)
    config = make_config(items={"duplicates": duplicates})
    examples = run_items(config, tmp_path, tmp_path / "out", (RawColumn(name="title", kind="string"),))
    rows = {row["item_id"][0]: row["title"][0] for row in read_rows(examples, "train")}
    assert len(rows) == 10
    assert rows["i3"] == title
    report = read_report(examples.uri)
    assert (report.rows_read, report.rows_kept, report.items, report.users) == (11, 10, 10, None)


def test_the_report_counts_what_happened(tmp_path, catalogue):
    frame = interactions_frame(200, items=12)
    write_tables(tmp_path, frame)
    config = make_config(
        interactions={"filters": [{"column": "price", "op": "less", "value": 0.9},
                                  {"column": "device", "op": "present"}]},
        unknown_items="drop",
    )  # fmt: skip
    examples = run_interactions(config, tmp_path, tmp_path / "out", catalogue)
    report = read_report(examples.uri)
    cheap = frame[frame.price < 0.9]
    known = cheap[(cheap.device != "") & cheap.item_id.isin(items_frame().item_id)]
    assert report.dropped == {
        "price less 0.9": len(frame) - len(cheap),
        "device present": int((cheap.device == "").sum()),
        "unknown item": int((cheap.device != "").sum()) - len(known),
    }
    assert (report.rows_read, report.rows_kept) == (len(frame), len(known))
    assert (report.users, report.items) == (known.user_id.nunique(), known.item_id.nunique())
    assert report.positives == {"clicked": int(known.clicked.sum())}
    rows = all_rows(examples)
    for split, part in report.splits.items():
        times = [row["timestamp"][0] for row in rows[split]]
        assert (part.rows, part.first, part.last) == (len(times), min(times), max(times))
    assert report.cuts is not None
    assert report.splits["train"].last < report.cuts[0] <= report.splits["validation"].first
    assert report.splits["validation"].last < report.cuts[1] <= report.splits["test"].first
    assert sorted(path.name for path in Path(examples.uri).iterdir()) == [
        "Split-test", "Split-train", "Split-validation", "ingest_report.json",
    ]  # fmt: skip


def test_without_labels_every_row_is_a_positive(tmp_path, catalogue):
    frame = interactions_frame()
    write_tables(tmp_path, frame)
    config = make_config(interactions={"labels": []})
    everything = every_row(run_interactions(config, tmp_path, tmp_path / "out", catalogue))
    assert all(row["interaction"] == [1.0] and "clicked" not in row for row in everything)
    expected = expected_rows(frame.assign(clicked=1), 3)
    histories = sorted(str((r["user_id"], r["timestamp"], r.get("recent_items"))) for r in everything)
    assert histories == sorted(str((r["user_id"], r["timestamp"], r.get("recent_items"))) for r in expected)


def test_without_history_there_is_none(tmp_path, catalogue):
    write_tables(tmp_path)
    rows = every_row(run_interactions(make_config(history=None), tmp_path, tmp_path / "out", catalogue))
    assert not any("recent_items" in row for row in rows)


def test_csv_as_others_write_it(tmp_path, catalogue):
    """A byte order mark, semicolons, quoted line breaks, gzip, columns that nobody asked for."""
    frame = interactions_frame(40)
    frame["device"] = "a;b\n“c”"
    frame["extra"] = "x"
    write_tables(tmp_path, frame)
    frame.to_csv(tmp_path / "odd.csv.gz", index=False, sep=";", encoding="utf-8-sig")
    config = make_config(interactions={"path": "odd.csv.gz", "delimiter": ";"})
    examples = run_interactions(config, tmp_path, tmp_path / "out", catalogue, COLUMNS)
    rows = every_row(examples)
    assert len(rows) == 40
    assert all(row["device"] == ["a;b\n“c”"] for row in rows)


def test_request_and_position_are_kept(tmp_path, catalogue):
    frame = interactions_frame().assign(request=range(60), position=lambda t: t.index % 7)
    write_tables(tmp_path, frame)
    config = make_config(interactions={"request": "request", "position": "position"})
    rows = every_row(run_interactions(config, tmp_path, tmp_path / "out", catalogue))
    assert {row["request"][0]: row["position"][0] for row in rows} == {str(n): n % 7 for n in range(60)}


def test_dates_in_the_split_cut_at_midnight_utc(tmp_path, catalogue):
    frame = interactions_frame().assign(timestamp=lambda t: START + (t.index % 20) * DAY // 2)
    write_tables(tmp_path, frame)
    day = datetime.datetime.fromtimestamp(START + 5 * DAY, datetime.timezone.utc).date()
    split = {"validation_from": day, "test_from": day + datetime.timedelta(days=2)}
    report = read_report(run_interactions(make_config(split=split), tmp_path, tmp_path / "out", catalogue).uri)
    assert report.cuts is not None
    assert report.cuts[0] % DAY == 0
    assert report.cuts[1] - report.cuts[0] == 2 * DAY
