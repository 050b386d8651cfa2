"""Pairs come from the time of training only, and recall is counted by hand."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.benchmarks import text_encoders


@pytest.fixture
def market(tmp_path):
    """Ten rows with a query; the last two are the test."""
    titles = [f"title {n}" for n in range(20)]
    queries = ["a", "a", "b", "", "c", "a", "b", None, "d", "a", "a", "new"]
    rows = pd.DataFrame(
        {
            "item_id": ["i1", "i1", "i2", "i9", "i3", "i4", "i2", "i9", "i5", "i0", "i1", "i2"],
            "query": queries,
            "clicked": [1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1],
            "timestamp": range(len(queries)),
        }
    )
    (tmp_path / "interactions").mkdir()
    rows.to_parquet(tmp_path / "interactions" / "0.parquet")
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(20)], "title": [f" {title} " for title in titles]})
    items.to_parquet(tmp_path / "items.parquet")
    return text_encoders.Market(tmp_path)


class OneHot:
    """An encoder that finds, for each query, the titles that it is told, the first one first."""

    def __init__(self, order, titles):
        self._vectors = {title: np.eye(len(titles))[place] for place, title in enumerate(titles)}
        for query, found in order.items():
            self._vectors[query] = sum((2.0**-place) * self._vectors[title] for place, title in enumerate(found))

    def count_tokens(self, texts):
        return tf.ones(len(texts), tf.int32)

    def encode(self, texts):
        return tf.constant([self._vectors[text.decode()] for text in texts.numpy()], tf.float32)


def test_pairs_are_the_clicks_before_the_test_the_most_frequent_first(market):
    assert market.pairs == [("a", "title 1"), ("a", "title 4"), ("b", "title 2"), ("d", "title 5")]
    assert market.queries == {"a", "b", "c", "d"}
    assert [market.titles[place] for place in market.clicks[1]] == ["title 1", "title 2"]
    assert market.clicks[0] == ["a", "new"]


@pytest.mark.parametrize(("above", "expected"), [(9, 1.0), (10, 0.5)])
def test_recall_is_of_the_first_ten_and_apart_for_queries_that_training_never_saw(market, above, expected):
    others = [title for title in market.titles if title not in ("title 1", "title 2")]
    encoder = OneHot({"a": ["title 1"], "new": [*others[:above], "title 2"]}, market.titles)
    figures = text_encoders.measure(encoder, market)
    assert figures["recall@10"] == expected
    assert figures["unseen_recall@10"] == (1.0 if expected == 1.0 else 0.0)
