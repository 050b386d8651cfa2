"""Ends of the window that a runner gives to the executors are those that a spec would name."""

import datetime

import numpy as np
import pandas as pd
import pytest

from crossrec.components.errors import DataError
from crossrec.components.example_gen.report import read_report
from crossrec.components.properties import INPUT_FINGERPRINT
from tests.unit.components.example_gen.support import (
    items_frame,
    make_config,
    read_rows,
    run_interactions,
    run_items,
    write_tables,
)

DAY, FIRST = 86_400, 20_000
SPLITS = ("train", "validation", "test")


def day(offset):
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=FIRST + offset)).isoformat()


@pytest.fixture
def folder(tmp_path):
    """Six days of interactions, ten rows each; the catalogue grows by an item on some of them."""
    write_tables(tmp_path)
    for offset in range(6):
        rows = pd.DataFrame(
            {
                "user_id": [f"u{row % 3}" for row in range(10)],
                "item_id": [f"i{row}" for row in range(10)],
                "timestamp": (FIRST + offset) * DAY + np.arange(10) * 3600,
                "clicked": np.arange(10) % 2,
            }
        )
        rows.to_csv(tmp_path / f"{day(offset)}.csv", index=False)
    for number, offset in enumerate((0, 2, 5)):
        items_frame(10 + number).to_csv(tmp_path / f"items-{day(offset)}.csv", index=False)
    return tmp_path


def config(window=None, path="{date}.csv"):
    return make_config(
        interactions={"path": path, "window": window},
        items={"path": "items-{date}.csv"},
        split={"validation_days": 1, "test_days": 1},
    )


@pytest.mark.parametrize(
    ("window", "given", "named"),
    [
        ({"days": 3}, {"until": day(4)}, {"days": 3, "until": day(4)}),
        ({"days": 3}, {"since": day(1), "until": day(4)}, {"since": day(1), "until": day(4)}),
        (None, {"since": day(2)}, {"since": day(2)}),
        ({"days": 3}, {"since": "", "until": ""}, {"days": 3}),
    ],
)
def test_interactions(folder, window, given, named):
    items = run_items(config(), folder, folder / "items")
    by_runner = run_interactions(config(window), folder, folder / "by-runner", items, **given)
    by_spec = run_interactions(config(named), folder, folder / "by-spec", items)
    assert read_report(by_runner.uri) == read_report(by_spec.uri)
    for split in SPLITS:
        assert read_rows(by_runner, split) == read_rows(by_spec, split) != []


@pytest.mark.parametrize(("until", "items"), [("", 12), (day(4), 11), (day(1), 10)])
def test_the_catalogue_is_that_of_then(folder, until, items):
    examples = run_items(config(), folder, folder / "out", until=until)
    assert len(read_rows(examples, "train")) == items


@pytest.mark.parametrize("until", [day(1), "17"])
def test_a_catalogue_without_snapshots_of_that_kind_stays_as_it_is(folder, until):
    plain = make_config() if until != "17" else config()
    expected = run_items(plain, folder, folder / "without")
    assert read_rows(run_items(plain, folder, folder / "out", until=until), "train") == read_rows(expected, "train")


def test_data_of_another_window_are_other_data_to_a_warm_start(folder):
    items = run_items(config(), folder, folder / "items")
    found = {
        run_interactions(config(), folder, folder / name, items, input_fingerprint="7-code", **given)
        .get_string_custom_property(INPUT_FINGERPRINT)
        for name, given in {
            "a": {},
            "b": {"until": day(4)},
            "c": {"until": day(3)},
            "d": {"since": day(1), "until": day(4)},
        }.items()
    }  # fmt: skip
    assert len(found) == 4 and "7-code" in found


def test_what_is_no_day_is_refused(folder):
    items = run_items(config(), folder, folder / "items")
    with pytest.raises(DataError, match="--until yesterday.*no day"):
        run_interactions(config(), folder, folder / "out", items, until="yesterday")
