import copy

import yaml

from crossrec.pipeline.columns import interaction_columns, item_columns
from crossrec.pipeline.spec.load import EXAMPLES, parse_spec

CONTENT = yaml.safe_load((EXAMPLES / "marketplace" / "spec.yaml").read_text(encoding="utf-8"))


def kinds(columns):
    found = {column.name: column.kind for column in columns}
    assert len(found) == len(columns), "each column once"
    return found


def test_columns_are_those_that_the_features_read():
    spec = parse_spec(CONTENT)
    assert kinds(interaction_columns(spec)) == {
        "user_id": "string",
        "user_segment": "string",
        "user_country": "string",
        "interests": "strings",
        "query": "string",
        "device": "string",
        "price_max": "float",
        "timestamp": "int",
        "position": "int",
    }
    found = kinds(item_columns(spec))
    assert found["tags"] == "strings" and found["price"] == "float" and found["title"] == "string"
    assert set(found) >= {feature.column for feature in spec.features.item.values()} | set(spec.serving.display)


def test_columns_that_are_only_shown_are_read_as_text_and_others_as_the_features_say():
    content = copy.deepcopy(CONTENT)
    content["serving"]["display"] = ["title", "image", "tags"]
    found = kinds(item_columns(parse_spec(content)))
    assert found["image"] == "string" and found["tags"] == "strings"


def test_without_position_none_is_read():
    content = copy.deepcopy(CONTENT)
    del content["data"]["interactions"]["position"]
    assert "position" not in kinds(interaction_columns(parse_spec(content)))


def test_columns_that_requests_filter_by_are_read_too():
    content = {**CONTENT, "index": {"filters": ["stock", "category"]}}
    found = kinds(item_columns(parse_spec(content)))
    assert found["stock"] == found["category"] == "string"
