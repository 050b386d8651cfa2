"""Crosses of all kinds in a whole spec: where each may stand, and what the pipeline makes of it."""

import pytest
import yaml

from crossrec.components.features.crosses import expand
from crossrec.pipeline.columns import interaction_columns, item_columns
from crossrec.pipeline.spec.errors import SpecError
from crossrec.pipeline.spec.load import EXAMPLES, parse_spec

CROSSES = [
    {"inputs": ["user_segment", "category"]},
    {"inputs": ["device", "price"], "granularities": [4, 16]},
    {"inputs": ["device", "price_max"], "granularities": [4]},
    {"type": "vocabulary", "inputs": ["brand", "tags"], "pairs": "any"},
    {"type": "statistics", "inputs": ["item_id"], "label": "purchased"},
    {"type": "statistics", "inputs": ["user_id"]},
    {"type": "statistics", "inputs": ["recent_items", "item_id"]},
    {"type": "similarity", "inputs": ["taste", "picture"]},
    {"type": "bm25", "inputs": ["query", "title"]},
]


def parse(**changes):
    """The example's spec with crosses of all kinds and vectors; changes by ``section__key``."""
    content = yaml.safe_load((EXAMPLES / "marketplace" / "spec.yaml").read_text(encoding="utf-8"))
    content["crosses"] = {"explicit": changes.pop("crosses", CROSSES)}
    content["features"]["query"]["taste"] = {"type": "vector", "dimension": 6}
    content["features"]["item"]["picture"] = {"type": "vector", "dimension": 6, "column": "pixels"}
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place[last] = value
    return parse_spec(content, "my spec")


def problems_of(**changes):
    with pytest.raises(SpecError) as caught:
        parse(**changes)
    return caught.value.problems


def test_models_may_name_the_crosses_of_each_granularity():
    spec = parse(
        ranking__crosses=[
            "device_x_price_in_4",
            "user_id_statistics",
            "taste_x_picture_similarity",
            "query_x_title_bm25",
        ],
        ranking__features=["price_in_16", "taste", "picture"],
        retrieval__query__features=["user_id", "device_x_price_max_in_4", "user_id_statistics", "taste"],
        retrieval__item__features=["item_id", "brand_x_tags", "picture"],
    )
    features, crosses = expand(spec.features, spec.crosses.explicit)
    assert [cross.name for cross in crosses][1:3] == ["device_x_price_in_4", "device_x_price_in_16"]
    assert list(features.item)[-2:] == ["price_in_4", "price_in_16"] and list(features.query)[-1] == "price_max_in_4"


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("ranking__crosses", ["device_x_price"], "ranking.crosses: 'device_x_price' is not defined"),
        (
            "ranking__crosses",
            ["found"],
            "ranking.crosses: 'found' stands for what 'crosses.auto' finds, which is not set",
        ),
        ("retrieval__query__features", ["query_x_title_bm25"], "needs more than the query side knows"),
        ("retrieval__query__features", ["device_x_price_in_4"], "needs more than the query side knows"),
        ("retrieval__query__features", ["price_in_4"], "is a feature of the other side"),
        ("retrieval__item__features", ["item_id_statistics"], "is of statistics, which differ by row"),
        ("ranking__features", ["device_x_price_in_16"], "is a cross. Name it under ranking.crosses"),
    ],
)
def test_what_a_model_cannot_know_is_refused(field, value, problem):
    (found,) = problems_of(**{field: value})
    assert found.startswith(field.replace("__", ".")) and problem in found and repr(value[0]) in found


def test_a_model_may_name_all_that_is_found():
    spec = parse(crosses__auto={}, ranking__crosses=["found", "query_x_title_bm25"])
    assert spec.ranking.crosses == ("found", "query_x_title_bm25")
    (problem,) = problems_of(crosses__auto={}, ranking__crosses=["user_segment_x_brand"])
    assert problem.startswith("ranking.crosses: 'user_segment_x_brand' is not defined. Known: ")
    assert problem.endswith("and 'found' for all that 'crosses.auto' finds")


ENCODER = {"type": "query_attention", "sequence": "recent_items", "query": "taste", "keys": "picture"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sequence": "device"}, "sequence: 'device' is no feature of type recent_items. Known: recent_items"),
        ({"features": ["colour"]}, "features: 'colour' is no item feature. Known: item_id"),
        ({"query": "picture"}, "query: 'picture' is no feature of the query. Known: query_vector, price_max, taste"),
        ({"keys": "colour"}, "keys: 'colour' is no feature of the item. Known: title_vector, price, picture"),
        ({"keys": "category"}, "query and keys: 'category' is of type 'categorical', which gives no vector"),
        ({"query": "query"}, "query and keys: 'query' gives hashed words of its text, not a vector"),
        ({"keys": "title_meaning"}, "query and keys: 'taste' of 6 and 'title_meaning' of 12 dimensions"),
        (
            {"query": "query_meaning", "keys": "title_meaning"},
            "query and keys: 'query_meaning' and 'title_meaning' have",
        ),
        ({}, None),
    ],
)
def test_an_encoder_is_checked_before_anything_runs(changes, problem):
    spec = {
        "features__query__query_meaning": {
            "type": "text",
            "column": "query",
            "encoder": {"dimension": 12, "max_tokens": 9},
        },
        "features__item__title_meaning": {"type": "text", "column": "title", "encoder": {"dimension": 12}},
        "retrieval__query__encoders": [{**ENCODER, **changes}],
    }
    if problem is None:
        assert parse(**spec).retrieval.query.encoders[0].keys == "picture"
    else:
        (found,) = problems_of(**spec)
        assert found.startswith(f"retrieval.query.encoders.0.{problem}"), found


def test_labels_and_dimensions_are_checked_against_the_spec():
    (unknown,) = problems_of(crosses=[{"type": "statistics", "inputs": ["item_id"], "label": "liked"}])
    assert unknown == "crosses.explicit.0.label: 'liked' is no label. Known: clicked, purchased"
    (sizes,) = problems_of(features__item__picture={"type": "vector", "dimension": 5})
    assert sizes.startswith("crosses.explicit.7.inputs: 'taste' of 6 and 'picture' of 5 dimensions")


def test_vectors_are_read_with_their_dimension_and_derived_features_read_no_more():
    spec = parse()
    columns = {column.name: column for column in (*interaction_columns(spec), *item_columns(spec))}
    assert (columns["taste"].kind, columns["taste"].width) == ("floats", 6)
    assert (columns["pixels"].kind, columns["pixels"].width) == ("floats", 6)
    assert columns["price"].width is None and not any("_in_" in name for name in columns)
