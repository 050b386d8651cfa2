from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from crossrec.pipeline.simulation import SimulationConfig, vocabulary
from crossrec.pipeline.simulation.clicks import EXAMINATION_EXPONENT
from crossrec.pipeline.simulation.users import make_users

from .conftest import Market


def items_of(market: Market) -> pd.DataFrame:
    return pq.read_table(market.folder / "items.parquet").to_pandas()


def test_click_and_purchase_rates(market: Market) -> None:
    assert 0.14 <= market.rows.clicked.mean() <= 0.21
    assert 0.15 <= market.rows.purchased.sum() / market.rows.clicked.sum() <= 0.25
    assert market.rows.purchased[market.rows.clicked == 0].sum() == 0


def test_positions_bias_clicks_beyond_what_relevance_explains(market: Market) -> None:
    # Position and relevance are confounded, because the policy puts what matches first. Within browsing pages
    # nothing matches lexically, so that the decay is nearly the examination's own.
    browsing = market.rows[market.rows["query"] == ""]
    rate = browsing.groupby("position").clicked.mean()
    assert rate[1] > 1.2 * rate[4] > 1.2 * rate[8]
    slope = np.polyfit(np.log(rate.index[:8]), np.log(rate[:8]), 1)[0]
    assert -EXAMINATION_EXPONENT - 0.25 < slope < -EXAMINATION_EXPONENT + 0.15


def test_requests_are_whole_and_show_an_item_once(market: Market) -> None:
    groups = market.rows.groupby("request_id")
    sizes = groups.size()
    assert sizes.mean() == pytest.approx(market.config.shown, abs=0.1)
    assert sizes[:-1].between(6, 10).all()
    assert (groups.position.max() == sizes).all()
    assert (groups.item_id.nunique() == sizes).all()
    for column in ("timestamp", "user_id", "query", "device", "user_segment", "user_country"):
        assert (groups[column].nunique() == 1).all()


def test_items_are_shown_only_after_their_release(market: Market) -> None:
    assert (market.rows.release_time <= market.rows.timestamp).all()


def test_titles_and_queries_make_lexical_sense_together(market: Market) -> None:
    nouns = {entry.name: (*entry.nouns, entry.short) for entry in vocabulary.CATEGORIES}
    searched = market.rows[market.rows["query"] != ""].sample(20_000, random_state=0)
    named = {text: [c for c, words in nouns.items() if text.endswith(words)] for text in searched["query"].unique()}
    assert max(len(categories) for categories in named.values()) == 1
    category = searched["query"].map(lambda text: named[text][0] if named[text] else "")
    assert (category == "").mean() < 0.1
    with_noun = category != ""
    match = (category == searched.category)[with_noun].mean()
    chance = (searched.category.value_counts(normalize=True) ** 2).sum()
    assert match > 0.8 > 5 * chance
    shares_word = [bool(set(q.split()) & set(t.split())) for q, t in zip(searched["query"], searched.title)]
    assert np.mean(shares_word) > 0.4
    clicked = np.array(shares_word)[searched.clicked == 1].mean()
    assert clicked > np.mean(shares_word)


def test_a_word_of_a_category_belongs_to_no_other_category_nor_attribute() -> None:
    words = [
        word
        for entry in vocabulary.CATEGORIES
        for word in {part for noun in (*entry.nouns, entry.short) for part in noun.split()}
    ]
    others = [*vocabulary.BRANDS, *vocabulary.ATTRIBUTES]
    assert len(set(words)) == len(words)
    assert len({*words, *others}) == len(words) + len(others)


def test_every_title_names_its_brand_and_category(market: Market) -> None:
    nouns = {entry.name: entry.nouns for entry in vocabulary.CATEGORIES}
    items = items_of(market)
    assert items.item_id.is_unique
    for title, category, brand in zip(items.title, items.category, items.brand):
        assert brand in title
        assert any(noun in title for noun in nouns[category])
    assert np.mean([not title.isascii() for title in items.title]) > 0.1
    assert np.mean([not text.isascii() for text in market.rows["query"]]) > 0.01


def test_values_are_missing_where_they_may_be(market: Market) -> None:
    requests = market.rows.drop_duplicates("request_id")
    assert (requests["query"] == "").mean() == pytest.approx(0.25, abs=0.02)
    assert 0.02 < (requests.drop_duplicates("user_id").user_country == "").mean() < 0.08
    assert 0.6 < requests.price_max.isna().mean() < 0.85
    lengths = requests.interests.str.len()
    assert set(lengths) == {0, 1, 2, 3, 4}
    assert requests.interests.map(lambda values: len(set(values)) == len(values)).all()
    items = items_of(market)
    assert 0 < items.price.isna().mean() < 0.05
    assert set(items.tags.str.len()) == {0, 1, 2, 3, 4}
    assert not market.rows.drop(columns=["price_max", "price"]).isna().any().any()


def test_new_items_and_users_appear_and_popularity_drifts(market: Market) -> None:
    items = items_of(market)
    fresh = items.release_time >= market.config.end - (market.config.end - market.config.start) // 5
    assert 0.07 <= fresh.mean() <= 0.11
    assert items.release_time.max() < market.config.end
    rows = market.rows
    last_fifth = rows.timestamp >= np.quantile(rows.timestamp, 0.8)
    new_users = set(rows.user_id[last_fifth]) - set(rows.user_id[~last_fifth])
    assert len(new_users) > 0.05 * rows.user_id[last_fifth].nunique()
    clicked_new = items.item_id[fresh].isin(rows.item_id[rows.clicked == 1])
    assert clicked_new.mean() > 0.4

    old = rows[rows.item_id.isin(items.item_id[items.release_time < market.config.start])]
    weeks = (old.timestamp - market.config.start) // (10 * 86_400)
    shown = old.groupby([weeks, "item_id"]).size().unstack(0).fillna(0)
    shown = shown[shown.sum(axis=1) > 100]
    assert shown[0].corr(shown[1], method="spearman") > shown[0].corr(shown[3], method="spearman") + 0.1


def test_activity_is_heavy_tailed_and_comes_in_sessions(market: Market) -> None:
    requests = market.rows.drop_duplicates("request_id")
    per_user = requests.user_id.value_counts()
    assert per_user[: len(per_user) // 10].sum() > 0.3 * per_user.sum()
    gaps = requests.groupby("user_id").timestamp.diff().dropna()
    assert (gaps < 600).mean() > 0.5
    assert (gaps > 86_400).mean() > 0.2


def test_the_query_says_far_more_than_popularity(market: Market) -> None:
    rows = market.rows
    cut = int(len(rows) * 0.8)
    clicks = rows[:cut][rows.clicked[:cut] == 1]
    test = rows[cut:][(rows.clicked[cut:] == 1) & (rows["query"][cut:] != "")]
    popular = clicks.item_id.value_counts()
    hits_popular = test.item_id.isin(popular.index[:10]).mean()
    items = items_of(market).set_index("item_id")
    top = {
        entry.name: set(popular[items.category[popular.index] == entry.name].index[:10])
        for entry in vocabulary.CATEGORIES
    }
    noun_to_category = {noun: entry.name for entry in vocabulary.CATEGORIES for noun in (*entry.nouns, entry.short)}
    known = [
        next((category for noun, category in noun_to_category.items() if text.endswith(noun)), None)
        for text in test["query"]
    ]
    hits_query = np.mean([item in top[c] if c else item in popular.index[:10] for item, c in zip(test.item_id, known)])
    assert hits_popular > 0.005
    assert hits_query > 4 * hits_popular


def test_users_are_drawn_only_after_they_join() -> None:
    config = SimulationConfig(rows=1_000, users=500)
    users = make_users(config)
    times = np.linspace(config.start, config.end - 1, 5_000).astype(np.int64)
    drawn = users.draw(np.random.default_rng(0), times)
    assert (users.joined[drawn] <= times).all()
