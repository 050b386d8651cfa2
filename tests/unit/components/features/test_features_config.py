import json
import math

import pytest
from pydantic import TypeAdapter, ValidationError

from crossrec.components.features.config import Feature, FeaturesConfig, raw_columns, raw_widths
from crossrec.components.features.crosses import HashedCross
from crossrec.components.features.schema import FeatureSchema, add_crosses, build_schema


def features(**item):
    return FeaturesConfig.model_validate(
        {"query": {"device": {"type": "categorical"}}, "item": {"brand": {"type": "categorical"}, **item}}
    )


def test_the_column_is_the_name_unless_it_is_given():
    config = features(price={"type": "numeric"}, band={"type": "buckets", "column": "price"})
    assert config.get("price").column == "price" and config.get("band").column == "price"
    assert raw_columns(config, "item") == {"brand": "string", "price": "float"}


def test_one_column_cannot_be_read_as_two_kinds():
    with pytest.raises(ValidationError, match=r"item.words reads column 'price' as string, another feature as float"):
        features(price={"type": "numeric"}, words={"type": "text", "column": "price"})


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"type": "categorical", "vocabulary": {}, "hash_buckets": 5}, "Keep one of them"),
        ({"type": "numeric", "clip": [2, 2]}, "low < high"),
        ({"type": "numeric", "clip": [math.nan, 2]}, "low < high"),
        ({"type": "numeric", "impute": math.nan}, "finite"),
        ({"type": "numeric", "impute": math.inf}, "finite"),
        ({"type": "time_part", "part": "hour", "utc_offset_hours": 15}, "less than or equal to 14"),
        ({"type": "text", "ngrams": 4}, "less than or equal to 3"),
        ({"type": "recent_items"}, "query side"),
    ],
)
def test_impossible_features_are_refused(body, complaint):
    with pytest.raises(ValidationError, match=complaint):
        features(wrong=body)


def test_a_name_stands_on_one_side_only():
    with pytest.raises(ValidationError, match="stand on both sides. Rename"):
        features(device={"type": "categorical"})


@pytest.mark.parametrize("name", ["@item_row", "a b", "a/b", "1st", "ü", ""])
def test_names_become_names_of_files_and_tensors(name):
    with pytest.raises(ValidationError, match="letters, digits"):
        features(**{name: {"type": "categorical"}})


def test_a_configuration_cannot_be_changed():
    config = features()
    for target, field in ((config, "query"), (config.item["brand"], "column")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(target, field, "other")


def test_a_configuration_survives_json_infinite_bounds_included():
    config = features(
        price={"type": "numeric", "clip": [0, math.inf], "impute": 2.5},
        tags={"type": "categorical", "multi_valued": True},
    )
    assert FeaturesConfig.model_validate_json(config.model_dump_json()) == config


def test_vectors_of_one_column_have_one_dimension():
    picture = {"type": "vector", "column": "v", "dimension": 8}
    config = features(picture=picture, again=picture, other={**picture, "column": "w", "dimension": 2})
    assert raw_columns(config, "item")["v"] == "floats"
    assert raw_widths(config, "item") == {"v": 8, "w": 2} and raw_widths(config, "query") == {}
    with pytest.raises(ValidationError, match="reads column 'v' as 4 numbers, another feature as 8"):
        features(picture=picture, again={**picture, "dimension": 4})


@pytest.mark.parametrize(("tokens", "ngrams", "width"), [(4, 1, 4), (4, 2, 7), (4, 3, 9), (1, 3, 1), (2, 3, 3)])
def test_width_of_text_is_the_number_of_its_ngrams(tokens, ngrams, width):
    body = {"type": "text", "column": "q", "max_tokens": tokens, "ngrams": ngrams}
    assert TypeAdapter(Feature).validate_python(body).width == width


def schema_of():
    config = features(tags={"type": "categorical", "multi_valued": True, "max_length": 3}, price={"type": "numeric"})
    crosses = (
        HashedCross(inputs=["device", "brand"], buckets=50),
        HashedCross(inputs=["tags", "brand"]),
        HashedCross(inputs=["device", "tags", "brand"]),
    )
    schema = build_schema(config, {"device": 3, "brand": 10, "tags": 7}, ("item_id", 12), ("clicked",))
    return add_crosses(schema, crosses)


def test_the_schema_says_side_width_and_buckets_of_crosses():
    schema = schema_of()
    assert [(c.side, c.width, c.buckets) for c in schema.crosses] == [
        ("both", 1, 50),
        ("item", 3, 512),
        ("both", 3, 1024),
    ]
    assert [(f.name, f.kind, f.width, f.cardinality, f.multi_valued) for f in schema.features] == [
        ("device", "ids", 1, 3, False),
        ("brand", "ids", 1, 10, False),
        ("tags", "ids", 3, 7, True),
        ("price", "dense", 1, 0, False),
    ]
    assert schema.cross("device_x_brand").inputs == ("device", "brand")
    assert schema.feature("tags").side == "item"


def test_the_schema_comes_back_from_its_file(tmp_path):
    schema = schema_of()
    schema.write(str(tmp_path))
    assert FeatureSchema.read(str(tmp_path)) == schema
    assert json.loads((tmp_path / "features.json").read_text())["item_column"] == "item_id"
