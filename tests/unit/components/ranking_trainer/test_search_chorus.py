"""The search benchmark's data and folds, on a catalogue of four products."""

import gzip
import json

import numpy as np
import pytest

from crossrec.components.features.schema import ITEM_ROW, USER
from tests.benchmarks import search_chorus as benchmark
from tests.benchmarks import search_chorus_data as data

PRODUCTS = [
    {"id": "1", "name": "A1", "title": "Blue pen", "supplier": "Acme", "price": 2, "short_description": "a pen"},
    {"id": "2", "name": "B2", "title": "Red pen", "supplier": "Bic", "price": 3},
    {"id": "3", "name": "C3", "title": "Lamp", "supplier": "Acme", "price": 40, "short_description": "light"},
    {"id": "4", "name": "D4", "title": "Desk", "supplier": "Oak", "price": 400},
]
JUDGMENTS = [
    ("pen", "1", 3),
    ("pen", "3", 0),
    ("red pen", "2", 3),
    ("red pen", "1", 1),
    ("lamp", "3", 2),
    ("lamp", "1", 0),
]


def encode(texts):
    """Letters of a text as its vector."""
    return np.array([[text.lower().count(letter) for letter in "aeiouln"] for text in texts], np.float32)


@pytest.fixture(scope="module")
def chorus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "chorus_icecat"
    folder.mkdir()
    with gzip.open(folder / "products.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps(product) + "\n" for product in PRODUCTS))
    lines = ["query,docid,rating", *(",".join(map(str, row)) for row in JUDGMENTS)]
    (folder / "judgments.csv").write_text("\n".join(lines) + "\n")
    path = data.find_data(str(folder.parent))
    return data.load(path, encode, (*benchmark.ALONE.values(), *benchmark.FURTHER))


def test_lists_are_the_judgments(chorus):
    assert chorus.queries == ["lamp", "pen", "red pen"] and chorus.table.ids.tolist() == ["1", "2", "3"]
    found = [
        (query, chorus.table.ids[row], grade)
        for number, query in enumerate(chorus.queries)
        for row, grade in zip(chorus.lists[number][ITEM_ROW][:, 0], chorus.grades(number))
    ]
    assert sorted(found) == sorted(JUDGMENTS)
    assert [set(rows[USER][:, 0]) for rows in chorus.lists] == [{0}, {1}, {2}]


def test_bm25_knows_the_words_of_products_that_no_one_judged(chorus):
    # "pen" stands in the texts of two products of four, "desk" in that of the one without a judgment.
    arrays = chorus.schema.tables.arrays["bm25"]
    assert sorted(np.round(arrays["idf"], 4).tolist())[0] == pytest.approx(np.log1p((4 - 2 + 0.5) / 2.5), abs=1e-4)
    texts = " ".join(str(product.get(name, "")) for product in PRODUCTS for name in ("title", "supplier", "name"))
    assert len(arrays["keys"]) == len({*texts.lower().split(), "a", "light"})
    assert benchmark.alone(chorus, benchmark.ALONE["bm25"]) == pytest.approx([1.0, 1.0, 1.0])


def test_a_query_is_never_on_both_sides(chorus, monkeypatch):
    seen = []

    class Recorder(benchmark.Trainer):
        def scores(self, training, test, seed):
            seen.append((set(training), set(test)))
            return {query: np.zeros(len(chorus.grades(query))) for query in test}

    monkeypatch.setattr(benchmark, "Trainer", Recorder)
    found = benchmark.cross_validated(chorus, benchmark.FUSED, range(2), 3)
    assert all(training.isdisjoint(test) and training | test == {0, 1, 2} for training, test in seen)
    assert sorted(query for _, test in seen for query in test) == sorted([0, 1, 2] * 2)
    assert found.shape == (2, 3) and (found == found[0]).all(), "all scores equal: the mean over orders"


def test_a_trainer_begins_anew_each_time(chorus):
    trainer = benchmark.Trainer(chorus, benchmark.FUSED, {})
    first = trainer.scores([0, 2], [1], seed=0)[1]
    other = trainer.scores([1], [0], seed=0)[0]
    np.testing.assert_allclose(trainer.scores([0, 2], [1], seed=0)[1], first, rtol=1e-5)
    assert first[0] > first[1] and len(other) == 2


def test_the_interval_of_a_difference():
    better, worse = np.array([0.9, 0.8, np.nan, 0.7]), np.array([0.5, 0.6, np.nan, 0.7])
    mean, low, high = benchmark.difference(better, worse)
    assert mean == pytest.approx(0.2) and (low, high) == pytest.approx((0.0, 0.4))
    assert benchmark.difference(worse, better)[0] == pytest.approx(-0.2)
    same = benchmark.difference(better - 0.1, better)
    assert same == pytest.approx((-0.1, -0.1, -0.1))
