"""Crosses of what texts are about: texts of topics made of random words, and outcomes that only topics tell."""

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.cross_selector.auto import AutoCrosses, candidates, families, with_granularities
from crossrec.components.cross_selector.config import CrossesConfig, CrossSelectorConfig
from crossrec.components.cross_selector.report import SelectionReport
from crossrec.components.cross_selector.select import RunInputs, find_crosses
from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.crosses import BM25Cross
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP, USER, build_schema, label_key
from tests.unit.components.cross_selector.simulated import table
from tests.unit.components.records import write_records

TOPICS, WORDS, ITEMS, ROWS = 6, 300, 2_000, 12_000
BUCKETS = WORDS * (TOPICS + 1)
ENCODER = {"dimension": 8}
FEATURES = FeaturesConfig.model_validate(
    {
        "query": {
            "segment": {"type": "categorical"},
            "device": {"type": "categorical"},
            "query": {"type": "text", "max_tokens": 2, "hash_buckets": BUCKETS},
            "query_topic": {"type": "text", "column": "query", "encoder": ENCODER, "clusters": TOPICS},
            "meaning": {"type": "text", "column": "query", "encoder": ENCODER},
        },
        "item": {
            "item_id": {"type": "categorical"},
            "category": {"type": "categorical"},
            "title": {"type": "text", "max_tokens": 4, "hash_buckets": BUCKETS},
            "title_topic": {"type": "text", "column": "title", "encoder": ENCODER, "clusters": TOPICS},
            "fine_topic": {"type": "text", "column": "title", "encoder": ENCODER, "clusters": 4 * TOPICS},
        },
    }
)
SIZES = {
    **{"segment": 5, "device": 4, "query": BUCKETS + 1, "query_topic": TOPICS + 1, "item_id": ITEMS + 2},
    **{"category": 6, "title": BUCKETS + 1, "title_topic": TOPICS + 1, "fine_topic": 4 * TOPICS + 1},
}
# A cross of another kind changes nothing about the search.
EXPLICIT = (BM25Cross(inputs=("query", "title")),)


def words(rng, topics, count):
    """Words of texts of the given topics, most of them rare; one in five is of no topic."""
    drawn = rng.integers(0, WORDS, (len(topics), count))
    return 1 + drawn + WORDS * np.where(rng.random(drawn.shape) < 0.2, TOPICS, topics[:, None])


def clusters(rng, topics):
    """Ids of clusters, which are those of the topics in another order, one in ten of them wrong."""
    wrong = rng.random(len(topics)) < 0.1
    return 1 + (np.where(wrong, rng.integers(0, TOPICS, len(topics)), topics) * 5 + 2) % TOPICS


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Items on disk, as many as have few rows each, and what transformed rows are made of."""
    rng = np.random.default_rng(0)
    topics = rng.integers(0, TOPICS, ITEMS)
    coarse = clusters(rng, topics)
    features = {
        "item_id": np.arange(2, ITEMS + 2),
        "category": rng.integers(1, 6, ITEMS),
        "title_topic": coarse,
        "fine_topic": 4 * (coarse - 1) + rng.integers(1, 5, ITEMS),
    }
    items = {name: np.append(values, 0)[:, None] for name, values in features.items()}
    items["title"] = np.concatenate([words(rng, topics, 4), np.full((1, 4), -1)])
    directory = tmp_path_factory.mktemp("topics")
    ItemTable(
        ids=np.array([f"i{n:04}" for n in range(ITEMS)], object), features=items, frequencies=np.ones(ITEMS), display={}
    ).write(f"{directory}/items")
    asked = rng.integers(0, TOPICS, ROWS)
    columns = {
        "segment": rng.integers(1, 5, (ROWS, 1)),
        "device": rng.integers(1, 4, (ROWS, 1)),
        "query": words(rng, asked, 2),
        "query_topic": clusters(rng, asked)[:, None],
        ITEM_ROW: rng.integers(0, ITEMS, (ROWS, 1)),
        USER: rng.integers(0, 500, (ROWS, 1)),
        TIMESTAMP: 10**9 + 7 * np.arange(ROWS)[:, None],
    }
    return directory, columns, topics[columns[ITEM_ROW][:, 0]], asked, items["category"][columns[ITEM_ROW], 0][:, 0]


def select(rows, logits, name):
    """What is found where the outcome has these logits."""
    directory, columns, *_ = rows
    clicked = np.random.default_rng(1).random(ROWS) < 1 / (1 + np.exp(-logits))
    columns = {**columns, label_key("clicked"): clicked[:, None].astype(float)}
    records = [{key: values[row].tolist() for key, values in columns.items()} for row in range(ROWS)]
    pattern = write_records(f"{directory}/{name}", records, 2)
    spec = {
        key: tf.io.FixedLenFeature([values.shape[1]], tf.float32 if key.startswith("@label") else tf.int64)
        for key, values in columns.items()
    }
    auto = AutoCrosses(max_order=2)
    config = CrossSelectorConfig(
        features=FEATURES, crosses=CrossesConfig(explicit=EXPLICIT, auto=auto), label="clicked"
    )
    schema = build_schema(FEATURES, SIZES, ("item_id", ITEMS), ("clicked",))
    inputs = RunInputs(pattern=pattern, item_table=f"{directory}/items", schema=schema, spec=spec)
    (directory / f"{name}-report").mkdir()
    found = find_crosses(beam.Pipeline, config, inputs, f"{directory}/{name}-report", f"{directory}/{name}-temporary")
    return {frozenset(cross.inputs) for cross in found}, SelectionReport.read(f"{directory}/{name}-report")


def test_the_cluster_of_the_title_is_found_where_segments_want_other_topics(rows):
    _, columns, topics, _, _ = rows
    effects = 1.2 * table(2, TOPICS, 4)
    found, report = select(rows, effects[topics, columns["segment"][:, 0] - 1] - 1, "titles")
    assert found == {frozenset({"segment", "title_topic"})}
    gains = {frozenset(pair.inputs): pair.gain for pair in report.pairs}
    # Clusters tell more than the words that they are made of, than finer ones, and than the items themselves.
    others = [gains[frozenset({"segment", name})] for name in ("title", "fine_topic", "item_id")]
    assert gains[frozenset({"segment", "title_topic"})] > max(others) > 0


def test_the_cluster_of_the_query_is_found_where_topics_want_other_categories(rows):
    *_, asked, categories = rows
    effects = 1.2 * table(3, TOPICS, 5)
    found, _ = select(rows, effects[asked, categories - 1] - 1, "queries")
    assert found == {frozenset({"query_topic", "category"})}


def test_without_an_effect_of_topics_none_is_found(rows):
    found, _ = select(rows, np.full(ROWS, -0.5), "nothing")
    assert found == set()


def test_clusters_and_words_are_candidates_and_vectors_are_not():
    names = candidates(FEATURES, AutoCrosses())
    assert {"query", "query_topic", "title", "title_topic", "fine_topic"} < set(names) and "meaning" not in names
    _, with_buckets = with_granularities(FEATURES, AutoCrosses())
    found = families(FEATURES, with_buckets)
    # Coarse and fine clusters of one text are versions of one thing, and no cross needs both.
    assert found["title_topic"] == found["fine_topic"]
    assert len({found[name] for name in ("title", "title_topic", "query", "query_topic")}) == 4
