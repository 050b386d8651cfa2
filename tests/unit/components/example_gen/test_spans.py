"""Paths with days and numbers, windows over them, and what they do to files, rows, cache and report."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from crossrec.components.errors import DataError
from crossrec.components.example_gen.files import fingerprint, locate, span_range
from crossrec.components.example_gen.pin import pinned, with_window
from crossrec.components.example_gen.report import read_report
from crossrec.components.example_gen.spans import SpanPattern
from crossrec.components.example_gen.split import SplitConfig
from crossrec.components.example_gen.time_split import TimeCounts, find_cuts
from crossrec.components.example_gen.window import Window
from tests.unit.components.example_gen.support import (
    items_frame,
    make_config,
    read_rows,
    run_interactions,
    write_tables,
)

DAY = 86_400
FIRST = 20_000  # 2024-10-04
DAYS = (0, 1, 2, 4, 5, 6, 7)  # 2024-10-07 is missing


def day(offset: int) -> str:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=FIRST + offset)).isoformat()


def rows_of(offset: int) -> pd.DataFrame:
    """Ten rows of a day, both labels, several users."""
    times = (FIRST + offset) * DAY + np.arange(10) * 3600
    return pd.DataFrame(
        {
            "user_id": [f"u{row % 3}" for row in range(10)],
            "item_id": [f"i{row}" for row in range(10)],
            "timestamp": times,
            "clicked": np.arange(10) % 2,
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for each day, and the same rows in one file."""
    write_tables(tmp_path)
    for offset in DAYS:
        place = tmp_path / "daily" / day(offset)
        place.mkdir(parents=True)
        rows_of(offset).to_csv(place / "part-0.csv", index=False)
    pd.concat([rows_of(offset) for offset in DAYS]).to_csv(tmp_path / "all.csv", index=False)
    return tmp_path


def config(path: str = "daily/{date}", window: object = None, **changes: object):
    split = {"validation_days": 1, "test_days": 1}
    return make_config(interactions={"path": path, "window": window}, **{"split": split, **changes})


def names(configuration, folder: Path) -> list[str]:
    return [file.name for file in locate(configuration.interactions, str(folder), "data.interactions")]


@pytest.mark.parametrize(
    ("path", "file", "span"),
    [
        ("in/{date}", "in/2024-10-04/part-0.csv", FIRST),
        ("in/{date}.csv", "in/2024-10-04.csv", FIRST),
        ("in/{YYYY}/{MM}/{DD}/*.csv", "in/2024/10/04/x.csv", FIRST),
        ("in/{SPAN}/*", "in/17/x.csv", 17),
        ("in/span-{span}", "in/span-007/x.csv", 7),
        ("in/{date}", "in/2024-10-04", FIRST),
        ("in/{date}", "in/2024-13-04/x.csv", None),
        ("in/{date}", "in/latest/x.csv", None),
        ("in/{date}", "in/2024-10-04/deeper/x.csv", None),
        ("in.{span}", "inx7", None),
    ],
)
def test_a_path_says_which_span_a_file_is(path, file, span):
    pattern = SpanPattern.parse(path)
    assert pattern is not None and pattern.span_of(file) == span


@pytest.mark.parametrize("path", ["in/{day}", "in/{YYYY}-{MM}", "in/{date}/{span}", "in/{SPAN}-{SPAN}", "in/{VERSION}"])
def test_a_path_that_does_not_say_it_once_is_refused_by_name(path):
    with pytest.raises(ValueError, match="in/"):
        SpanPattern.parse(path)
    assert SpanPattern.parse("in/*.csv") is None


@pytest.mark.parametrize(
    ("window", "read", "missing"),
    [
        (None, DAYS, (day(3),)),
        ({"days": 4}, (4, 5, 6, 7), ()),
        ({"days": 5}, (4, 5, 6, 7), (day(3),)),
        ({"days": 3, "until": day(4)}, (2, 4), (day(3),)),
        ({"spans": 5}, (2, 4, 5, 6, 7), ()),
        ({"spans": 2, "until": day(3)}, (1, 2), ()),
        ({"since": day(5)}, (5, 6, 7), ()),
        ({"since": day(1), "until": day(4)}, (1, 2, 4), (day(3),)),
        ({"until": day(1)}, (0, 1), ()),
        ({"days": 2, "until": day(9)}, None, ()),
    ],
)
def test_a_window_takes_its_days_and_names_those_that_are_missing(folder, window, read, missing):
    configuration = config(window=window)
    if read is None:
        with pytest.raises(DataError, match=f"{day(8)} to {day(9)}; there are 7 spans, {day(0)} to {day(7)}"):
            names(configuration, folder)
        return
    assert names(configuration, folder) == [f"daily/{day(offset)}/part-0.csv" for offset in read]
    assert span_range(configuration.interactions, str(folder), "data.interactions").missing == missing


def test_numbers_are_ordered_as_numbers_and_gaps_are_named(tmp_path):
    for number in (8, 9, 10, 12):
        (tmp_path / f"{number}.csv").write_text("user_id\n")
    configuration = config("{span}.csv", {"spans": 3})
    assert names(configuration, tmp_path) == ["9.csv", "10.csv", "12.csv"]
    assert span_range(configuration.interactions, str(tmp_path), "x").missing == ("11",)


def test_only_files_of_the_window_change_the_fingerprint(folder):
    configuration = config(window={"days": 3})
    before = fingerprint(configuration, str(folder))
    old = folder / "daily" / day(0) / "part-0.csv"
    os.utime(old, (1, 1))
    (folder / "daily" / day(0) / "part-1.csv").write_text("user_id\n1\n")
    assert fingerprint(configuration, str(folder)) == before
    new = folder / "daily" / day(8)
    new.mkdir()
    rows_of(8).to_csv(new / "part-0.csv", index=False)
    assert fingerprint(configuration, str(folder)) != before
    # A pinned window does not move on.
    assert fingerprint(config(window={"days": 3, "until": day(7)}), str(folder)) == before


def test_a_pinned_window_reads_the_same_when_a_day_arrives(folder):
    settled = pinned(config(window={"days": 3}), str(folder))
    assert settled.interactions.window == Window(days=3, until=day(7))
    (folder / "daily" / day(8)).mkdir()
    rows_of(8).to_csv(folder / "daily" / day(8) / "part-0.csv", index=False)
    assert names(settled, folder)[-1] == f"daily/{day(7)}/part-0.csv"
    assert pinned(settled, str(folder)) == settled
    assert pinned(config(), str(folder)) == config()


def test_a_catalogue_is_its_newest_snapshot_up_to_the_end(folder):
    for offset in (0, 3, 6):
        items_frame(10 + offset).to_csv(folder / f"items-{day(offset)}.csv", index=False)
    changes = {"items": {"path": "items-{date}.csv", "item": "item_id"}}

    def snapshot(until):
        configuration = with_window(config(**changes), until=until)
        return [file.name for file in locate(configuration.items, str(folder), "data.items")]

    assert snapshot(None) == [f"items-{day(6)}.csv"]
    assert snapshot(day(5)) == [f"items-{day(3)}.csv"]
    assert pinned(config(**changes), str(folder)).items.window == Window(spans=1, until=day(6))


@pytest.mark.parametrize(
    ("window", "options", "expected"),
    [
        ({"days": 3}, {"until": day(4)}, Window(days=3, until=day(4))),
        ({"days": 3}, {"since": day(1)}, Window(since=day(1))),
        ({"spans": 3}, {"days": 2, "until": day(4)}, Window(days=2, until=day(4))),
        (None, {"since": day(1), "until": day(2)}, Window(since=day(1), until=day(2))),
        ({"days": 3}, {}, Window(days=3)),
    ],
)
def test_a_command_line_changes_the_window(window, options, expected):
    assert with_window(config(window=window), **options).interactions.window == expected


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("daily/{date}", {"since": "yesterday"}, "--since yesterday.*no day"),
        ("daily/{date}", {"since": day(3), "until": day(1)}, "later than until"),
        ("{span}", {"since": day(3)}, "numbers its spans"),
        ("daily/{date}", {"since": "17"}, "has days"),
        ("all.csv", {"until": "17"}, "has none"),
    ],
)
def test_a_command_line_that_does_not_fit_is_refused(path, options, said):
    with pytest.raises(DataError, match=said):
        with_window(config(path), **options)


@pytest.mark.parametrize(
    ("path", "window"),
    [
        ("daily/{date}", {"days": 3, "since": day(1)}),
        ("daily/{date}", {}),
        ("daily/{date}", {"days": 0}),
        ("daily/{date}", {"since": 17}),
        ("{span}", {"days": 3}),
        ("all.csv", {"spans": 3}),
    ],
)
def test_a_window_that_says_nothing_or_too_much_is_refused(path, window):
    with pytest.raises(ValidationError):
        config(path, window)


def test_rows_of_one_file_and_files_by_day_give_the_same_examples(folder, catalogue):
    window = {"days": 4, "until": day(6)}
    by_file = run_interactions(config(window=window), folder, folder / "out-1", catalogue)
    by_row = run_interactions(config("all.csv", window), folder, folder / "out-2", catalogue)
    for split, offsets in (("train", (4,)), ("validation", (5,)), ("test", (6,))):
        rows = read_rows(by_file, split)
        assert rows == read_rows(by_row, split)
        assert {row["timestamp"][0] // DAY for row in rows} == {FIRST + offset for offset in offsets}
    report = read_report(by_file.uri)
    assert report.window.missing == (day(3),) and report.files == tuple(f"daily/{day(d)}/part-0.csv" for d in (4, 5, 6))
    assert by_file.get_string_custom_property("first_span") == day(3)
    assert by_file.get_string_custom_property("last_span") == day(6)
    assert by_file.get_string_custom_property("missing_spans") == day(3)
    dropped = read_report(by_row.uri)
    assert dropped.dropped["outside the window"] == 40 and dropped.window.first == day(3)


def test_a_window_of_one_file_ends_with_its_newest_row(folder, catalogue):
    examples = run_interactions(config("all.csv", {"days": 3}), folder, folder / "out", catalogue)
    times = [row["timestamp"][0] for split in ("train", "validation", "test") for row in read_rows(examples, split)]
    assert (min(times) // DAY, max(times) // DAY) == (FIRST + 5, FIRST + 7)


def test_a_window_without_rows_says_from_when_to_when_there_are_some(folder, catalogue):
    with pytest.raises(DataError, match=f"none of 70 rows lies in it; they run from {day(0)} .* to {day(7)}"):
        run_interactions(config("all.csv", {"since": "2030-01-01"}), folder, folder / "out", catalogue)


def test_broken_rows_outside_the_window_do_not_matter_and_times_that_cannot_be_read_do(folder, catalogue):
    rows = pd.concat([rows_of(offset) for offset in DAYS]).reset_index(drop=True)
    rows["clicked"] = rows["clicked"].astype(float)
    rows.loc[0, "clicked"] = 7
    rows.to_csv(folder / "all.csv", index=False)
    examples = run_interactions(config("all.csv", {"since": day(1)}), folder, folder / "out", catalogue)
    assert read_report(examples.uri).rows_kept == 60
    rows["timestamp"] = rows["timestamp"].astype(object)
    rows.loc[0, "timestamp"] = "soon"
    rows.to_csv(folder / "all.csv", index=False)
    with pytest.raises(DataError, match="data.interactions.timestamp.*soon"):
        run_interactions(config("all.csv", {"since": day(1)}), folder, folder / "out-2", catalogue)


def test_last_days_are_counted_from_the_day_of_the_last_row():
    times = TimeCounts()
    times.add(np.array([FIRST * DAY + 5, (FIRST + 9) * DAY + 80_000]))
    cuts = find_cuts(SplitConfig(validation_days=2, test_days=3), times)
    assert cuts == ((FIRST + 5) * DAY, (FIRST + 7) * DAY)
    with pytest.raises(ValidationError, match="not a split"):
        SplitConfig(validation_days=2, test=0.1)
    with pytest.raises(ValidationError, match="not a split"):
        SplitConfig(test_days=2)
