"""Judgments: grades, no users, no times; a query is never on two sides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from crossrec.components.errors import DataError
from crossrec.components.example_gen.checks import check_inputs
from crossrec.components.example_gen.config import DataConfig
from crossrec.components.example_gen.id_split import assign, share_of
from crossrec.components.example_gen.report import read_report
from crossrec.components.example_gen.split import SplitConfig
from crossrec.components.properties import TRAINED_UNTIL
from tests.unit.components.example_gen.support import read_rows, run_interactions, write_tables

SPLITS = ("train", "validation", "test")


def judgments_config(interactions=None, **sections):
    return DataConfig.model_validate(
        {
            "interactions": {
                "path": "judgments.csv",
                "user": "query",
                "item": "docid",
                "grades": {"rating": {"max_grade": 3, "positive_from": 2}},
                **(interactions or {}),
            },
            "items": {"path": "items.csv", "item": "item_id"},
            "split": {"by": "user", "validation": 0.2, "test": 0.2},
            **sections,
        }
    )


def judgments(queries=40, rows=5):
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "query": np.repeat([f"query {number}" for number in range(queries)], rows),
            "docid": [f"i{number}" for number in random.integers(0, 10, queries * rows)],
            "rating": np.tile([0, 1, 2, 3, 0], queries)[: queries * rows],
        }
    )


def run(tmp_path, frame, catalogue, **changes):
    write_tables(tmp_path)
    frame.to_csv(tmp_path / "judgments.csv", index=False)
    return run_interactions(judgments_config(**changes), tmp_path, tmp_path / "out", catalogue)


def test_grades_are_kept_and_say_what_is_a_positive(tmp_path, catalogue):
    frame = judgments()
    examples = run(tmp_path, frame, catalogue)
    rows = [row for split in SPLITS for row in read_rows(examples, split)]
    found = sorted((row["query"][0], row["docid"][0], row["rating"][0], row["rating_positive"][0]) for row in rows)
    assert found == sorted((q, d, float(r), float(r >= 2)) for q, d, r in frame.itertuples(index=False))
    assert {row["no_time"][0] for row in rows} == {0}
    report = read_report(examples.uri)
    assert report.positives == {"rating_positive": int((frame.rating >= 2).sum())}
    assert report.cuts is None and report.splits["test"].first is None
    assert examples.get_int_custom_property(TRAINED_UNTIL) == 0


def test_a_query_is_on_one_side_always_the_same(tmp_path, catalogue):
    frame = judgments()
    sides = {}
    examples = run(tmp_path / "all", frame, catalogue)
    for split in SPLITS:
        for row in read_rows(examples, split):
            assert sides.setdefault(row["query"][0], split) == split
    assert set(sides.values()) == set(SPLITS)
    # Other rows, another order: the same sides.
    other = frame[frame["query"].str.endswith(("1", "2", "3"))].sample(frac=1.0, random_state=1)
    examples = run(tmp_path / "some", other, catalogue)
    for split in SPLITS:
        assert {row["query"][0] for row in read_rows(examples, split)} == {
            query for query in set(other["query"]) if sides[query] == split
        }


def test_shares_seeds_and_growing_test_data():
    ids = [pa.chunked_array([[f"u{number}" for number in range(20_000)]])]
    places = assign(ids, SplitConfig(by="user", validation=0.1, test=0.3))
    np.testing.assert_allclose(np.bincount(places) / 20_000, [0.6, 0.1, 0.3], atol=0.012)
    larger = assign(ids, SplitConfig(by="user", validation=0.1, test=0.5))
    assert (larger[places == 2] == 2).all(), "what was tested on stays test data"
    other = assign(ids, SplitConfig(by="user", validation=0.1, test=0.3, seed=1))
    assert ((other == 2) & (places == 2)).mean() == pytest.approx(0.09, abs=0.01), "independent of the first"


def test_the_hash_is_the_same_on_every_machine():
    assert share_of("laptop", 0) == pytest.approx(0.22584857, abs=1e-8)
    assert share_of("笔记本电脑", 0) != share_of("laptop", 0) != share_of("laptop", 1)


def test_requests_stay_together_and_rows_without_one_go_with_their_user():
    split = SplitConfig(by="request", validation=0.3, test=0.3)
    users = pa.chunked_array([["a", "a", "b", "b"] * 50])
    requests = pa.chunked_array([[f"r{number // 2}" if number % 4 != 3 else None for number in range(200)]])
    places = assign([requests, users], split)
    same_request = [places[n] for n in range(0, 200, 4)], [places[n] for n in range(1, 200, 4)]
    assert same_request[0] == same_request[1] and len(set(same_request[0])) == 3
    alone = assign([users], split)
    assert (places[3::4] == alone[3]).all()


@pytest.mark.parametrize(
    ("grade", "parts"),
    [
        (4, ["no whole grade from 0 to 3 in 1 row, such as '4'", "row 8 of judgments.csv", "raise max_grade"]),
        (-1, ["'-1'"]),
        (1.5, ["'1.5'"]),
        ("good", ["'good'", "not a number"]),
        (None, ["'rating' is missing in 1 row", "op: present"]),
    ],
)
def test_what_is_no_grade_is_refused(tmp_path, catalogue, grade, parts):
    frame = judgments().astype({"rating": object})
    frame.loc[7, "rating"] = grade
    with pytest.raises(DataError) as caught:
        run(tmp_path, frame, catalogue)
    for part in ("data.interactions.grades.rating", *parts):
        assert part in str(caught.value)
    with pytest.raises(DataError):
        check_inputs(judgments_config(), str(tmp_path))


def test_a_threshold_that_no_row_reaches_is_refused(tmp_path, catalogue):
    frame = judgments().assign(rating=1)
    with pytest.raises(DataError, match="rating.positive_from: label 'rating_positive' is 0 in all .* Choose a grade"):
        run(tmp_path, frame, catalogue)


def test_too_few_queries_for_a_split_are_told_of(tmp_path, catalogue):
    with pytest.raises(DataError, match="data.split: .* would be empty: no user of 10 rows falls there. Give larger"):
        run(tmp_path, judgments(queries=2), catalogue)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"split": {"validation": 0.2, "test": 0.2}}, "timestamp is not named.*by: user"),
        ({"split": {"by": "request", "validation": 0.2, "test": 0.2}}, "request is not named"),
        ({"split": {"by": "user", "validation_days": 1, "test_days": 1}}, "goes with fractions"),
        ({"split": {"validation": 0.2, "test": 0.2, "seed": 3}}, "seed 3 is of a hash of ids"),
        ({"history": {"max_length": 3}}, "history: what is recent, times tell"),
        ({"interactions": {"repeats": "first"}}, "repeats: first needs to know"),
        ({"interactions": {"window": {"days": 3}}}, "window chooses rows by their time"),
        ({"interactions": {"grades": {"rating": {"max_grade": 3, "positive_from": 4}}}}, "above max_grade 3"),
        ({"interactions": {"labels": ["rating"]}}, "both labels and grades"),
        ({"interactions": {"labels": ["rating_positive"]}}, "both labels and grades.rating"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(changes, complaint):
    with pytest.raises(ValidationError, match=complaint):
        judgments_config(**changes)


def test_labels_stand_beside_grades():
    table = judgments_config(interactions={"labels": ["clicked"]}).interactions
    assert table.all_labels == ("clicked", "rating_positive")
    assert judgments_config().history_label == "rating_positive"
