"""What is hidden stays hidden until the test period, and what is measured is what was hidden."""

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks import text_cold_start as cold

ITEMS, USERS, ROWS = 40, 20, 4000


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(5)
    rows = pd.DataFrame(
        {
            "item_id": [f"i{n}" for n in rng.integers(0, ITEMS, ROWS)],
            "user_id": [f"u{n}" for n in rng.integers(0, USERS, ROWS)],
            "timestamp": np.arange(ROWS),
            "clicked": rng.integers(0, 2, ROWS),
            "query": rng.choice(["red shoe", "", None], ROWS),
        }
    )
    (tmp_path / "interactions").mkdir()
    for part in range(2):
        rows[part::2].to_parquet(tmp_path / "interactions" / f"{part}.parquet", index=False)
    pd.DataFrame({"item_id": [f"i{n}" for n in range(ITEMS)]}).to_parquet(tmp_path / "items.parquet")
    return tmp_path, rows


def test_new_items_and_users_are_there_in_the_test_period_only(data):
    path, rows = data
    clicks, items, (validation, test) = cold.hide(path, seed=0)
    left = pd.read_parquet(path / "interactions")
    new_items, new_users = (
        set(clicks.loc[clicks[kind], key]) for kind, key in (("new_item", "item_id"), ("new_user", "user_id"))
    )
    assert (items, len(new_items), len(new_users)) == (ITEMS, ITEMS // 10, USERS // 10)
    before = left[left["timestamp"] < test]
    assert not set(before["item_id"]) & new_items and not set(before["user_id"]) & new_users
    assert (left["timestamp"] >= test).sum() == (rows["timestamp"] >= test).sum()
    untouched = rows[~rows["item_id"].isin(new_items) & ~rows["user_id"].isin(new_users)]
    assert len(before) == (untouched["timestamp"] < test).sum()
    assert validation == pytest.approx(0.7 * ROWS, abs=1) and test == pytest.approx(0.8 * ROWS, abs=1)


def test_only_clicks_after_a_query_are_measured_and_each_is_new_or_known(data):
    path, rows = data
    clicks, _, (_, test) = cold.hide(path, seed=0)
    wanted = rows[(rows["timestamp"] >= test) & (rows["clicked"] == 1) & (rows["query"] == "red shoe")]
    assert sorted(clicks["timestamp"]) == sorted(wanted["timestamp"])
    assert (clicks["known"] == ~(clicks["new_item"] | clicks["new_user"])).all()
    assert not clicks.loc[clicks["new_item"], "popular"].any()


def test_popularity_by_hand():
    clicks = pd.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(25)] + ["i0"] * 5,
            "popular": [n < 3 for n in range(25)] + [True] * 5,
            **dict.fromkeys(cold.KINDS, True),
        }
    )
    figures = cold.popularity(clicks)
    assert figures["popularity_known_recall@20"] == pytest.approx(8 / 30)
    # The first item has six clicks, nineteen others one each.
    assert figures["hindsight_popularity_known_recall@20"] == pytest.approx(25 / 30)
