"""Crosses in a spec: defaults, what is refused and with which mend, and numeric inputs at several granularities."""

import pytest
from pydantic import TypeAdapter, ValidationError

from crossrec.components.features.config import Buckets, FeaturesConfig
from crossrec.components.features.crosses import (
    BM25Cross,
    CrossConfig,
    HashedCross,
    SimilarityCross,
    StatisticsCross,
    VocabularyCross,
    check_crosses,
    expand,
)

FEATURES = FeaturesConfig.model_validate(
    {
        "query": {
            "device": {"type": "categorical"},
            "likes": {"type": "categorical", "multi_valued": True, "max_length": 20},
            "recent_items": {"type": "recent_items"},
            "limit": {"type": "numeric", "column": "price_max"},
            "taste": {"type": "vector", "dimension": 8},
            "words": {"type": "text", "column": "query", "hash_buckets": 999},
            "phrases": {"type": "text", "column": "query", "ngrams": 2, "max_tokens": 20},
            "meaning": {"type": "text", "column": "query", "encoder": {"dimension": 8}},
        },
        "item": {
            "brand": {"type": "categorical"},
            "tags": {"type": "categorical", "multi_valued": True, "max_length": 20},
            "price": {"type": "numeric"},
            "weight_in_4": {"type": "buckets", "column": "other", "count": 4},
            "weight": {"type": "numeric"},
            "picture": {"type": "vector", "dimension": 8},
            "small": {"type": "vector", "dimension": 4},
            "title": {"type": "text", "hash_buckets": 999},
            "maker": {"type": "text", "hash_buckets": 999, "max_tokens": 4},
            "story": {"type": "text", "max_tokens": 200},
            "title_meaning": {"type": "text", "column": "title", "encoder": {"dimension": 8}},
            "other_meaning": {"type": "text", "column": "title", "encoder": {"dimension": 8, "max_tokens": 9}},
            "topic": {"type": "text", "column": "title", "encoder": {"dimension": 8}, "clusters": 5},
        },
    }
)
LABELS = ("clicked", "bought")
PARSE = TypeAdapter(CrossConfig).validate_python


def test_a_cross_without_a_type_is_hashed():
    assert PARSE({"inputs": ["device", "brand"]}) == HashedCross(inputs=("device", "brand"))
    for kind, expected in (
        ("hashed", HashedCross),
        ("vocabulary", VocabularyCross),
        ("statistics", StatisticsCross),
        ("similarity", SimilarityCross),
        ("bm25", BM25Cross),
    ):
        cross = PARSE({"type": kind, "inputs": ["taste", "picture"]})
        assert isinstance(cross, expected)
        assert TypeAdapter(CrossConfig).validate_json(cross.model_dump_json()) == cross


def test_an_unknown_type_is_told_with_the_known_ones():
    with pytest.raises(ValidationError, match="'hashed', 'vocabulary', 'statistics', 'similarity', 'bm25'"):
        PARSE({"type": "hash", "inputs": ["device", "brand"]})


@pytest.mark.parametrize(
    ("cross", "field", "value", "mend"),
    [
        ({"inputs": ["device", "colour"]}, "inputs", "'colour'", "Known: device"),
        ({"inputs": ["device", "limit"]}, "inputs", "'limit'", "granularities: [4, 16]"),
        ({"inputs": ["device", "picture"]}, "inputs", "'picture'", "Cross another feature"),
        ({"inputs": ["likes", "tags"]}, "inputs", "400", "Lower 'max_length'"),
        ({"inputs": ["device", "brand"], "name": "tags"}, "name", "'tags'", "another one"),
        ({"inputs": ["device", "brand"], "granularities": [4]}, "granularities", "[4]", "Leave it out"),
        ({"inputs": ["device", "weight"], "granularities": [4]}, "granularities", "'weight_in_4'", "Rename"),
        ({"type": "statistics", "inputs": ["device"], "label": "sold"}, "label", "'sold'", "Known: clicked, bought"),
        ({"type": "statistics", "inputs": ["price"]}, "inputs", "'price'", "granularities"),
        ({"type": "similarity", "inputs": ["taste", "brand"]}, "inputs", "'brand'", "type 'vector'"),
        ({"type": "similarity", "inputs": ["taste", "small"]}, "inputs", "'small' of 4", "one 'dimension'"),
        (
            {"type": "similarity", "inputs": ["taste", "image"]},
            "inputs",
            "'image'",
            "Known: taste, meaning, picture, small",
        ),
        ({"type": "similarity", "inputs": ["words", "picture"]}, "inputs", "'words' gives hashed words", "'encoder'"),
        ({"type": "similarity", "inputs": ["meaning", "topic"]}, "inputs", "'topic' gives clusters", "'encoder'"),
        ({"type": "similarity", "inputs": ["meaning", "small"]}, "inputs", "'small' of 4", "one 'dimension'"),
        (
            {"type": "similarity", "inputs": ["meaning", "other_meaning"]},
            "inputs",
            "{'dimension': 8} and {'dimension': 8, 'max_tokens': 9}",
            "Give both one 'encoder'",
        ),
        ({"inputs": ["device", "meaning"]}, "inputs", "'meaning'", "Give it 'clusters'"),
        ({"type": "bm25", "inputs": ["device", "title"]}, "inputs", "'device' gives no words", "type 'text'"),
        ({"type": "bm25", "inputs": ["words", "topic"]}, "inputs", "'topic' gives no words", "read column 'title'"),
        ({"type": "bm25", "inputs": ["words", "headline"]}, "inputs", "'headline'", "Known: words, phrases, title"),
        ({"type": "bm25", "inputs": ["words", "story"]}, "inputs", "999 of 'words', 16384 of 'story'", "all the same"),
        ({"type": "bm25", "inputs": ["title", "maker"]}, "inputs", "'title' is a feature of the item", "query first"),
        ({"type": "bm25", "inputs": ["phrases", "story"]}, "inputs", "2 of 'phrases', 1 of 'story'", "all the same"),
    ],
)
def test_impossible_crosses_are_refused_with_field_value_and_mend(cross, field, value, mend):
    problems = check_crosses([PARSE(cross)], FEATURES, LABELS)
    assert any(f"crosses.explicit.0.{field}: " in p and value in p and mend in p for p in problems), problems
    assert len(problems) == 1


def test_more_comparisons_than_a_request_can_bear_are_refused():
    text = {"type": "text", "hash_buckets": 99}
    features = FeaturesConfig.model_validate(
        {
            "query": {"query": {**text, "max_tokens": 40}},
            "item": {"title": {**text, "max_tokens": 10}, "story": {**text, "max_tokens": 400}},
        }
    )
    (problem,) = check_crosses([BM25Cross(inputs=("query", "title", "story"))], features)
    assert problem == (
        "crosses.explicit.0.inputs: 40 words of 'query' against 410 of an item are 16400 comparisons, more than 16384. "
        "Lower 'max_tokens'"
    )
    assert check_crosses([BM25Cross(inputs=("query", "story"))], features) == []


def test_two_crosses_may_not_share_a_name_granularities_included():
    same = [HashedCross(inputs=("device", "brand"))] * 2
    assert [p.split(":")[0] for p in check_crosses(same, FEATURES)] == [
        "crosses.explicit.0.name",
        "crosses.explicit.1.name",
    ]
    derived = [
        HashedCross(inputs=("device", "price"), granularities=(4, 8)),
        HashedCross(inputs=("device", "brand"), name="device_x_price_in_8"),
    ]
    (first, second) = check_crosses(derived, FEATURES)
    assert "'device_x_price_in_8' is taken twice" in first and "crosses.explicit.1.name" in second


def test_possible_crosses_have_no_problems():
    crosses = [
        {"inputs": ["device", "brand"]},
        {"inputs": ["likes", "brand"], "pairs": "any"},
        {"inputs": ["device", "price", "limit"], "granularities": [4, 16]},
        {"type": "statistics", "inputs": ["brand"], "label": "bought"},
        {"type": "statistics", "inputs": ["recent_items", "brand"]},
        {"type": "vocabulary", "inputs": ["device", "brand"], "name": "frequent"},
        {"type": "similarity", "inputs": ["taste", "picture"]},
        {"type": "similarity", "inputs": ["meaning", "title_meaning"]},
        {"type": "similarity", "inputs": ["taste", "title_meaning"]},
        {"type": "bm25", "inputs": ["words", "title"]},
        {"type": "bm25", "inputs": ["words", "title", "maker"], "name": "both_texts", "weights": [1, 0.5]},
        {"inputs": ["device", "topic"]},
        {"inputs": ["words", "maker"]},
    ]
    assert check_crosses([PARSE(cross) for cross in crosses], FEATURES, LABELS) == []


@pytest.mark.parametrize(
    ("cross", "complaint"),
    [
        ({"inputs": ["a"]}, "at least 2"),
        ({"inputs": ["a", "b", "c", "d", "e"]}, "at most 4"),
        ({"inputs": ["a", "b", "a"]}, "Name each input once"),
        ({"inputs": ["a", "b"], "granularities": [4, 4]}, "Name each once"),
        ({"type": "vocabulary", "inputs": ["a"]}, "at least 2"),
        ({"type": "statistics", "inputs": []}, "at least 1"),
        ({"type": "statistics", "inputs": ["a"], "parts": 4, "lag_parts": 4}, "Lower lag_parts or raise parts"),
        ({"type": "statistics", "inputs": ["a"], "smoothing": 0}, "greater than 0"),
        ({"type": "statistics", "inputs": ["a"], "statistics": ["rate", "rate"]}, "Name each once"),
        ({"type": "similarity", "inputs": ["a"]}, "inputs.1"),
        ({"type": "similarity", "inputs": ["a", "b"], "measures": ["dot", "dot"]}, "Name each once"),
        ({"type": "bm25", "inputs": ["a"]}, "at least 2"),
        ({"type": "bm25", "inputs": ["a", "b"], "measures": ["bm25", "bm25"]}, "Name each once"),
        (
            {"type": "bm25", "inputs": ["a", "b", "c"], "weights": [1]},
            r"1 numbers for the 2 texts \['b', 'c'\]. Give one",
        ),
        ({"type": "bm25", "inputs": ["a", "b"], "b": 1.5}, "less than or equal to 1"),
        ({"type": "bm25", "inputs": ["a", "b"], "weights": [0]}, "greater than 0"),
        ({"inputs": ["a", "b"], "name": "found"}, "Give another name"),
    ],
)
def test_a_cross_that_contradicts_itself_is_refused(cross, complaint):
    with pytest.raises(ValidationError, match=complaint):
        PARSE(cross)


@pytest.mark.parametrize("name", ["a b", "@x", "1st", "ü", "a/b", "a\n"])
def test_names_that_no_variable_can_have_are_refused(name):
    with pytest.raises(ValidationError, match="letters, digits"):
        HashedCross(inputs=("a", "b"), name=name)


def test_a_cross_is_named_after_its_inputs_and_its_kind():
    assert HashedCross(inputs=("a", "b", "c")).name == VocabularyCross(inputs=("a", "b", "c")).name == "a_x_b_x_c"
    assert StatisticsCross(inputs=("a",)).name == "a_statistics"
    assert BM25Cross(inputs=("a", "b", "c")).name == "a_x_b_x_c_bm25"
    assert SimilarityCross(inputs=("a", "b")).name == "a_x_b_similarity"


def test_numeric_inputs_become_buckets_at_each_granularity():
    crosses = [
        HashedCross(inputs=("device", "price", "limit"), granularities=(4, 16)),
        StatisticsCross(inputs=("price",), name="sold", granularities=(16,)),
        HashedCross(inputs=("device", "brand")),
    ]
    features, expanded = expand(FEATURES, crosses)
    assert [(cross.name, cross.inputs) for cross in expanded] == [
        ("device_x_price_in_4_x_limit_in_4", ("device", "price_in_4", "limit_in_4")),
        ("device_x_price_in_16_x_limit_in_16", ("device", "price_in_16", "limit_in_16")),
        ("sold_in_16", ("price_in_16",)),
        ("device_x_brand", ("device", "brand")),
    ]
    assert set(features.names) - set(FEATURES.names) == {"price_in_4", "price_in_16", "limit_in_4", "limit_in_16"}
    assert features.item["price_in_16"] == Buckets(type="buckets", column="price", count=16)
    assert features.query["limit_in_4"] == Buckets(type="buckets", column="price_max", count=4)
    assert check_crosses(expanded, features, LABELS) == [] and expand(features, expanded) == (features, expanded)


def test_without_numeric_inputs_nothing_is_added():
    crosses = (HashedCross(inputs=("device", "brand")),)
    assert expand(FEATURES, crosses) == (FEATURES, crosses)
