"""The queries that an index is measured on: rows of the validation split through the query tower."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.candidate_indexer.config import IndexConfig
from crossrec.components.candidate_indexer.executor import embed_queries
from crossrec.components.features.schema import USER
from crossrec.components.modeling.inputs import TrainingData
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.train import build
from tests.unit.components.records import write_records
from tests.unit.components.small_models import make_query, make_schema, make_table, randomise

ROWS = 30


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("queries")
    schema = make_schema()
    query = {name: values.numpy() for name, values in make_query(ROWS, 1).items()}
    rows = [{**{name: values[n].tolist() for name, values in query.items()}, USER: 100 + n} for n in range(ROWS)]
    # A split that is read by mistake would be noticed by its users.
    others = [{**row, USER: 1} for row in rows]
    patterns = {
        "train": write_records(root / "train", others),
        "validation": write_records(root / "validation", rows),
    }
    spec = {
        feature.name: tf.io.FixedLenFeature([feature.width], tf.float32 if feature.kind == "dense" else tf.int64)
        for feature in schema.side("query")
    }
    spec[USER] = tf.io.FixedLenFeature([1], tf.int64)
    config = RetrievalConfig(query={"features": ["user", "recent_items"]}, item={"features": ["item_id"]})
    model = build(schema, config, make_table())
    randomise(model, 3)
    return model, schema, TrainingData(patterns, spec), model.embed_queries(make_query(ROWS, 1)).numpy()


def test_each_query_is_its_row_through_the_tower(made):
    model, schema, data, expected = made
    queries, users = embed_queries(model, schema, data, IndexConfig())
    assert sorted(users) == list(range(100, 100 + ROWS))
    np.testing.assert_allclose(queries, expected[users - 100], atol=1e-6)


def test_no_more_queries_than_wanted_the_same_by_seed(made):
    model, schema, data, _ = made
    first, again, other = (
        embed_queries(model, schema, data, IndexConfig(queries=9, seed=seed))[1].tolist() for seed in (1, 1, 2)
    )
    assert len(first) == len(set(first)) == 9
    assert first == again and first != other
