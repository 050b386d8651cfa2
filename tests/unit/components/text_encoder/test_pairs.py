"""Texts, words and pairs that the Beam step finds."""

from collections import Counter

import apache_beam as beam

from crossrec.components.text_encoder.pairs import add_texts
from crossrec.components.text_encoder.texts import TextFiles, read_lines
from tests.unit.components.records import write_records
from tests.unit.components.text_encoder.market import config_of, use

ITEMS = [
    {"item_id": "a", "title": "Red tea", "brand": "Ya"},
    {"item_id": "b", "title": " green tea ", "brand": None},
    {"item_id": "c", "title": None, "brand": "Ya"},
    {"item_id": "d", "title": "Red tea", "brand": ""},
    {"item_id": "e", "title": "茶壶\u2028noir", "brand": "Ya"},
]


def row(query, item, clicked=1.0, user="u", second=1):
    return {"query": query, "item": item, "clicked": clicked, "user_id": user, "timestamp": second}


def run(tmp_path, rows, *uses, name="one", shards=1):
    files = {use.encoder.key: TextFiles(str(tmp_path / name / use.encoder.key)) for use in uses}
    interactions = write_records(tmp_path / name / "rows", rows, shards)
    items = write_records(tmp_path / name / "items", ITEMS, shards)
    with beam.Pipeline() as pipeline:
        add_texts(pipeline, config_of(*uses), interactions, items, files)
    return [files[use.encoder.key] for use in uses]


def counts(lines):
    return {tuple(value) if isinstance(value, list) else value: count for value, count in lines}


def test_clicked_titles_and_their_queries_are_counted(tmp_path):
    rows = [
        row("tea", "a"),
        row(" tea", "d"),
        row("tea", "b"),
        row("tea", "b", clicked=0.0),
        row("pot", "e"),
        row("pot", "c"),
        row(None, "a"),
        row(" ", "a"),
        row("pot", "unknown"),
    ]
    one, two = use(), use(item=("title", "brand"), dimension=8)
    titles, both = run(tmp_path, rows, one, two)
    # Two items of one title are one text.
    by_title = {("tea", "Red tea"): 2, ("tea", "green tea"): 1, ("pot", "茶壶\u2028noir"): 1}
    assert counts(read_lines(titles.pairs)) == by_title
    assert counts(read_lines(both.pairs)) == {**by_title, ("tea", "Ya"): 1, ("pot", "Ya"): 2}
    assert sorted(read_lines(titles.catalogue)) == sorted(["Red tea", "green tea", "茶壶\u2028noir"])
    assert set(read_lines(titles.texts)) == {*read_lines(titles.catalogue), "tea", "pot"}
    # In how many texts, not in how many rows: a text counts once.
    assert counts(read_lines(titles.words)) == {"tea": 3, "red": 1, "green": 1, "茶": 1, "壶": 1, "noir": 1, "pot": 1}


def test_the_most_frequent_pairs_are_kept_whatever_the_order_of_the_rows(tmp_path):
    rows = [row(query, item) for query, item, times in zip("pqrs", "abee", (2, 5, 2, 2)) for _ in range(times)]
    few = use(training={"pairs": 3})
    (one,) = run(tmp_path, rows, few)
    (other,) = run(tmp_path, rows[::-1], few, name="other", shards=3)
    kept = {("q", "green tea"): 5, ("p", "Red tea"): 2, ("r", "茶壶\u2028noir"): 2}
    assert counts(read_lines(one.pairs)) == kept == counts(read_lines(other.pairs))
    assert read_lines(one.texts) == read_lines(other.texts)
    assert len(read_lines(one.texts)) == 3


def test_without_a_query_items_that_a_user_took_one_after_the_other_belong_together(tmp_path):
    rows = [
        row(None, "b", second=3, user="x"),
        row(None, "a", second=1, user="x"),
        row(None, "e", second=2, user="x", clicked=0.0),
        row(None, "d", second=4, user="x"),
        row(None, "a", second=5, user="x"),
        row(None, "e", second=1, user="y"),
        row(None, "b", second=2, user="y"),
        row(None, "a", second=9, user="z"),
    ]
    (found,) = run(tmp_path, rows, use(query=()))
    # x: a b d a (d and a are of one title); y: e b.
    assert counts(read_lines(found.pairs)) == {("Red tea", "green tea"): 2, ("green tea", "茶壶\u2028noir"): 1}


def test_items_of_one_moment_are_paired_in_an_order_that_is_not_that_of_their_ids(tmp_path):
    rows = [row(None, item, user=f"u{n}") for n in range(200) for item in "abe"]
    (found,) = run(tmp_path, rows, use(query=()))
    pairs = Counter(counts(read_lines(found.pairs)))
    assert sum(pairs.values()) == 400
    # In the order of the ids a and e would never meet.
    assert min(pairs.values()) > 90 and len(pairs) == 3


def test_a_model_that_learns_nothing_needs_no_pairs_and_no_words(tmp_path):
    (found,) = run(tmp_path, [row("tea", "a")], use(path="model"))
    assert set(read_lines(found.texts)) == {"Red tea", "green tea", "茶壶\u2028noir", "tea"}
    present = {path.name for path in (tmp_path / "one").rglob("*.jsonl")}
    assert present == {"texts.jsonl", "catalogue.jsonl"}
