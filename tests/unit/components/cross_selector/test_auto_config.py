import pytest
from pydantic import ValidationError

from crossrec.components.cross_selector.auto import AutoCrosses, candidates, check_auto, families, with_granularities
from crossrec.components.features.config import FeaturesConfig

FEATURES = FeaturesConfig.model_validate(
    {
        "query": {
            "device": {"type": "categorical"},
            "hour": {"type": "time_part", "column": "t", "part": "hour"},
            "day": {"type": "time_part", "column": "t", "part": "part_of_day"},
            "weekday": {"type": "time_part", "column": "t", "part": "weekday"},
            "recent": {"type": "recent_items"},
        },
        "item": {"price": {"type": "numeric"}, "band": {"type": "buckets", "column": "price", "count": 10}},
    }
)


def test_all_features_of_ids_and_numbers_are_candidates_unless_some_are_named():
    assert candidates(FEATURES, AutoCrosses()) == ("device", "hour", "day", "weekday", "price", "band")
    assert candidates(FEATURES, AutoCrosses(features=("band", "device"))) == ("band", "device")


def test_numbers_become_buckets_on_their_side_and_doing_it_twice_changes_nothing():
    auto = AutoCrosses(granularities=(4, 16))
    features, names = with_granularities(FEATURES, auto)
    assert names == ("device", "hour", "day", "weekday", "price_in_4", "price_in_16", "band")
    assert features.side_of("price_in_16") == "item" and features.get("price_in_16").count == 16
    again, same = with_granularities(features, auto)
    assert again == features and set(same) == set(names)


def test_versions_of_one_thing_are_one_family():
    features, names = with_granularities(FEATURES, AutoCrosses(granularities=(4, 16)))
    found = families(features, names)
    assert found["price_in_4"] == found["price_in_16"] == found["band"]
    assert found["hour"] == found["day"] != found["weekday"]
    assert len(set(found.values())) == 4


@pytest.mark.parametrize(
    ("auto", "problem"),
    [
        ({"features": ["device", "colour"]}, "crosses.auto.features.1: 'colour' is not a feature. Known: device, hour"),
        ({"features": ["device", "recent"]}, "crosses.auto.features.1: 'recent' gives no ids (recent_items)."),
        ({"features": ["band", "hour", "band"]}, "crosses.auto.features.2: 'band' is named twice."),
        ({"features": ["band"]}, "crosses.auto.features: fewer than two features"),
    ],
)
def test_problems_name_the_field_the_value_and_the_mend(auto, problem):
    (found,) = check_auto(FEATURES, AutoCrosses.model_validate(auto))
    assert found.startswith(problem)
    assert check_auto(FEATURES, AutoCrosses()) == []


@pytest.mark.parametrize("wrong", [{"max_order": 5}, {"budget": {"minutes": 0}}, {"beams": 3}, {"granularities": [1]}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        AutoCrosses.model_validate(wrong)
