"""Which columns of vectors a spec's texts need, and which columns the world sends."""

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from crossrec.components.features.config import FeaturesConfig, raw_columns, raw_widths, transform_columns
from crossrec.components.features.encodings import columns_by_encoder, encodings
from crossrec.components.features.preprocessing import cardinality, preprocessing_fn, raw_feature_spec
from crossrec.components.features.schema import build_schema

SMALL, LARGE = {"dimension": 3}, {"dimension": 5, "path": "/models/large"}


def text(column, encoder=SMALL, **more):
    return {"type": "text", "column": column, "encoder": encoder, **more}


FEATURES = FeaturesConfig.model_validate(
    {
        "query": {
            "words": {"type": "text", "column": "query"},
            "vector": text("query"),
            "again": text("query"),
            "group": text("query", clusters=7),
            "large": text("query", LARGE),
            "other": text("notes"),
        },
        "item": {"title": text("title"), "price": {"type": "numeric"}},
    }
)
KEY, LARGE_KEY = (FEATURES.query[name].encoder.key for name in ("vector", "large"))


def test_requests_send_texts_and_the_transform_reads_vectors():
    assert raw_columns(FEATURES, "query") == {"query": "string", "notes": "string"}
    assert raw_columns(FEATURES, "item") == {"title": "string", "price": "float"}
    assert raw_widths(FEATURES, "query") == {}, "a request sends no vector"
    assert transform_columns(FEATURES, "query") == {
        "query": "string",
        f"query__{KEY}": "floats",
        f"query__{KEY}_7": "int",
        f"query__{LARGE_KEY}": "floats",
        f"notes__{KEY}": "floats",
    }
    spec = raw_feature_spec(FEATURES, "item")
    assert {name: kind.dtype for name, kind in spec.items()} == {f"title__{KEY}": tf.float32, "price": tf.float32}


def test_each_column_is_made_once_however_many_features_read_it():
    found = encodings(FEATURES)
    assert [(e.side, e.encoded_column, e.dimension, e.clusters) for e in found] == [
        ("query", f"query__{KEY}", 3, None),
        ("query", f"query__{KEY}_7", 3, 7),
        ("query", f"query__{LARGE_KEY}", 5, None),
        ("query", f"notes__{KEY}", 3, None),
        ("item", f"title__{KEY}", 3, None),
    ]
    assert columns_by_encoder(found, "query") == {KEY: ("query", "notes"), LARGE_KEY: ("query",)}
    assert columns_by_encoder(found, "item") == {KEY: ("title",)}


def test_the_schema_tells_the_served_graph():
    cardinalities = {name: cardinality(feature, None, 9) for name, _, feature in FEATURES.items()}
    schema = build_schema(FEATURES, cardinalities, ("item_id", 9), ("clicked",))
    assert schema.encodings == encodings(FEATURES)
    assert schema.only_encoded == ("notes",), "the words of a query are read too"
    found = {feature.name: (feature.kind, feature.width, feature.cardinality) for feature in schema.features}
    assert found["vector"] == found["title"] == ("dense", 3, 0) and found["large"] == ("dense", 5, 0)
    assert found["group"] == ("ids", 1, 8) and not schema.feature("group").multi_valued
    assert type(schema).model_validate_json(schema.model_dump_json()).encodings == schema.encodings


def test_missing_texts_are_zeros_and_the_missing_id():
    columns = {
        "query": tf.ragged.constant([["tea"], [], []]),
        f"query__{KEY}": tf.ragged.constant([[0.5, 0.25, -1.0], [], []], ragged_rank=1),
        f"query__{KEY}_7": tf.ragged.constant([[7], [], [1]], tf.int64),
        f"query__{LARGE_KEY}": tf.ragged.constant([[], [], [1.0, 2.0, 3.0, 4.0, 5.0]], ragged_rank=1),
        f"notes__{KEY}": tf.ragged.constant([[], [], [1.0, 1.0, 1.0]], ragged_rank=1),
    }
    raw = {name: values.to_sparse() for name, values in columns.items()}
    found = {name: values.numpy() for name, values in preprocessing_fn(FEATURES, "query")(raw).items()}
    np.testing.assert_array_equal(found["vector"], [[0.5, 0.25, -1.0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(found["again"], found["vector"])
    assert found["group"].tolist() == [[7], [0], [1]] and found["group"].dtype == np.int64
    np.testing.assert_array_equal(found["large"][2], [1, 2, 3, 4, 5])
    assert not found["large"][:2].any()


def test_a_column_of_the_file_cannot_have_the_name_of_an_encoded_one():
    query = {"vector": text("query"), "taken": {"type": "numeric", "column": f"query__{KEY}"}}
    with pytest.raises(ValidationError, match="query.vector puts its vectors into a column .* Rename"):
        FeaturesConfig.model_validate({"query": query, "item": {"price": {"type": "numeric"}}})
