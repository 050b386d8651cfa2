"""The configuration refuses what cannot be, and says field, value and mend."""

from __future__ import annotations

import datetime

import pytest
from pydantic import ValidationError

from crossrec.components.example_gen.config import DataConfig, RawColumn
from crossrec.components.example_gen.split import SplitConfig, unix_seconds
from tests.unit.components.example_gen.support import make_config


def test_json_round_trip_keeps_everything():
    config = make_config(
        interactions={"filters": [{"column": "a", "op": "in", "value": ["x", "y"]}, {"column": "b", "op": "present"}]},
        split={"validation_from": datetime.date(2011, 10, 25), "test_from": "2011-11-09"},
    )
    assert DataConfig.model_validate_json(config.model_dump_json()) == config
    assert config.split.cuts == (1319500800, 1320796800)


@pytest.mark.parametrize(
    ("changes", "field", "value", "mend"),
    [
        ({"interactions": {"timestamp": "user_id"}}, "interactions", "'user_id'", "own column"),
        ({"interactions": {"labels": ["interaction"]}}, "interactions", "'interaction'", "Rename"),
        ({"interactions": {"delimiter": "--"}}, "interactions.delimiter", "'--'", "','"),
        ({"items": {"separators": {"tags": ""}}}, "items.separators", "'tags'", "Write"),
        ({"items": {"duplicates": "all"}}, "items.duplicates", "'all'", "first"),
        ({"items": {"filters": [{"column": "a", "op": "matches", "value": "("}]}}, "filters.0", "'('", "RE2"),
        ({"items": {"filters": [{"column": "a", "op": "in", "value": 3}]}}, "filters.0", "3", "list"),
        ({"items": {"filters": [{"column": "a", "op": "in", "value": [1, "b"]}]}}, "filters.0", "'b'", "only text"),
        ({"items": {"filters": [{"column": "a", "op": "greater", "value": "x"}]}}, "filters.0", "'x'", "ISO date"),
        ({"items": {"filters": [{"column": "a", "op": "present", "value": 1}]}}, "filters.0", "1", "out"),
        ({"items": {"filters": [{"column": "a", "op": "equals"}]}}, "filters.0", "None", "Give one value"),
        ({"split": {"validation": 0.1}}, "split", "0.1", "Give either"),
        ({"split": {"validation": 0.6, "test": 0.5}}, "split", "0.6", "less than 1"),
        ({"split": {"validation": 0.0, "test": 0.5}}, "split.validation", "0.0", "0.1"),
        ({"split": {"validation_from": "soon", "test_from": 5}}, "split.validation_from", "'soon'", "ISO date"),
        ({"split": {"validation_from": 9, "test_from": 5}}, "split", "9", "Swap"),
        ({"history": {"label": "bought"}}, "history.label", "'bought'", "['clicked']"),
        ({"interactions": {"labels": ["a", "b"]}}, "history.label", "['a', 'b']", "Name the one"),
        ({"history": {"max_length": 0}}, "history.max_length", "0", "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused(changes, field, value, mend):
    with pytest.raises(ValidationError) as caught:
        make_config(**changes)
    message = str(caught.value)
    assert field in message
    assert value in message
    assert mend in message


def test_models_are_frozen_and_refuse_unknown_keys():
    config = make_config()
    with pytest.raises(ValidationError, match="frozen"):
        config.unknown_items = "drop"
    with pytest.raises(ValidationError, match="itmes"):
        make_config(itmes={})


def test_a_feature_may_not_take_a_computed_name():
    with pytest.raises(ValidationError, match="recent_items"):
        RawColumn(name="recent_items", kind="strings")


def test_the_history_label_defaults_to_the_only_label():
    assert make_config().history_label == "clicked"
    assert make_config(interactions={"labels": []}).history_label is None


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ("1970-01-02", 86_400),
        ("1970-01-01T01:00:00", 3_600),
        ("1970-01-01T01:00:00Z", 3_600),
        ("1970-01-01T01:00:00+01:00", 0),
        ("77", 77),
        (77, 77),
    ],
)
def test_moments_are_utc_unless_they_say_otherwise(moment, seconds):
    assert unix_seconds(moment) == seconds


def test_yaml_dates_and_text_mean_the_same():
    as_date = SplitConfig(validation_from=datetime.date(2020, 1, 1), test_from=datetime.datetime(2020, 2, 1))
    assert as_date.cuts == SplitConfig(validation_from="2020-01-01", test_from="2020-02-01").cuts
