"""Who is in which arm: the same in every language and for good, in the promised shares, independently of others."""

import collections
import dataclasses
import hashlib
import json
import math
import pickle

import pytest

from crossrec.serving.experiments import Experiment, ExperimentError
from crossrec.serving.experiments.analysis.sample_ratio import chi_square_tail
from crossrec.serving.experiments.experiment import parse_experiment, parse_release_traffic

UNITS = [f"u{number}" for number in range(10_000)]
# From `printf 'ranker-7\0stable\0u1' | sha256sum` and so on, with decimal logarithms of forty digits.
GOLDEN_DRAWS = {
    ("ranker-7", "stable", "u1"): 8138082882660396,
    ("ranker-7", "canary", "u1"): 2064137980418388,
    ("ranker-7", "stable", "naïve ☃"): 4665385005560121,
    ("ranker-7", "canary", "0"): 7510749154137150,
    ("colours", "blue", "u6"): 8622185893596418,
}
GOLDEN = [
    ("ranker-7", {"stable": 80, "canary": 20}, "u1", "stable"),
    ("ranker-7", {"stable": 80, "canary": 20}, "u2", "stable"),
    ("ranker-7", {"stable": 80, "canary": 20}, "naïve ☃", "stable"),
    ("ranker-7", {"stable": 80, "canary": 20}, "u5", "canary"),
    ("ranker-7", {"stable": 80, "canary": 20}, "u13", "canary"),
    ("colours", {"red": 1, "green": 2.5, "blue": 0.5}, "u1", "green"),
    ("colours", {"red": 1, "green": 2.5, "blue": 0.5}, "u3", "red"),
    ("colours", {"red": 1, "green": 2.5, "blue": 0.5}, "u6", "blue"),
]


def split(arms, name="e", units=UNITS, **settings):
    experiment = Experiment(name, arms, **settings)
    return {unit: experiment.assign(unit).arm for unit in units}


@pytest.mark.parametrize(("salt", "arm", "unit"), GOLDEN_DRAWS)
def test_what_is_hashed(salt, arm, unit):
    digest = hashlib.sha256(f"{salt}\0{arm}\0{unit}".encode()).digest()
    assert int.from_bytes(digest[:8], "big") >> 11 == GOLDEN_DRAWS[salt, arm, unit]


@pytest.mark.parametrize(("name", "arms", "unit", "arm"), GOLDEN)
def test_golden_arms(name, arms, unit, arm):
    assert Experiment(name, arms).assign(unit).arm == arm
    assert Experiment("other", dict(reversed(arms.items())), salt=name).assign(unit).arm == arm


def test_every_arm_gets_its_share():
    arms = {"a": 70, "b": 20, "c": 10}
    counts = collections.Counter(split(arms).values())
    statistic = sum((counts[arm] - weight * 100) ** 2 / (weight * 100) for arm, weight in arms.items())
    assert chi_square_tail(statistic, 2) > 1e-3


def test_a_unit_keeps_its_arm_over_processes_and_copies():
    experiment = Experiment("e", {"a": 1, "b": 1})
    twins = (
        pickle.loads(pickle.dumps(experiment)),
        Experiment("e", {"b": 50, "a": 50}),
        dataclasses.replace(experiment),
    )
    for unit in UNITS[:1000]:
        assert {twin.assign(unit) for twin in twins} == {experiment.assign(unit)}


@pytest.mark.parametrize("percents", [(1, 5, 20, 50, 95), (0, 100)])
def test_who_was_in_a_canary_stays_while_it_grows(percents):
    before = set()
    for percent in percents:
        arms = split({"stable": 100 - percent, "canary": percent})
        now = {unit for unit, arm in arms.items() if arm == "canary"}
        assert before <= now
        assert abs(len(now) - percent * 100) <= 4 * math.sqrt(percent * (100 - percent))
        before = now


def test_a_new_arm_takes_from_all_others_evenly_and_gives_them_back():
    before = split({"a": 60, "b": 40})
    after = split({"a": 60, "b": 40, "c": 25})
    moved = collections.Counter(before[unit] for unit in UNITS if after[unit] != before[unit])
    assert {after[unit] for unit in UNITS if after[unit] != before[unit]} == {"c"}
    assert moved["a"] / sum(moved.values()) == pytest.approx(0.6, abs=0.05)
    assert split({"a": 60, "b": 40, "c": 0}) == before


def test_two_canaries_that_grow_alike_exchange_nobody():
    before = split({"stable": 90, "a": 5, "b": 5})
    after = split({"stable": 60, "a": 20, "b": 20})
    assert all(after[unit] == arm for unit, arm in before.items() if arm != "stable")


@pytest.mark.parametrize("names", [("one", "two"), ("ranker-7", "ranker-8"), ("a", "aa")])
def test_experiments_are_independent_of_each_other(names):
    arms = {"stable": 50, "canary": 50}
    units = [f"u{number}" for number in range(100_000)] if names == ("one", "two") else UNITS
    first, second = (split(arms, name, units) for name in names)
    cells = collections.Counter((first[unit], second[unit]) for unit in units)
    rows, columns = collections.Counter(first.values()), collections.Counter(second.values())
    statistic = sum(
        (cells[row, column] - expected) ** 2 / expected
        for row in arms
        for column in arms
        for expected in [rows[row] * columns[column] / len(units)]
    )
    assert chi_square_tail(statistic, 1) > 1e-3


def test_one_salt_splits_alike():
    arms = {"stable": 50, "canary": 50}
    assert split(arms, "one", salt="same") == split(arms, "two", salt="same")


def test_who_takes_no_part():
    experiment = Experiment(
        "e", {"blue": 1, "red": 1}, control="red", labels={"red": "stable"}, overrides={"tester": "blue"}
    )
    assert experiment.assign(None) == ("red", "stable", False)
    assert experiment.assign("") == ("red", "stable", False)
    assert experiment.assign("tester") == ("blue", "blue", False)
    assert experiment.assign("u1").exposed
    assert Experiment("e", {"stable": 100.0, "canary": 0.0}).assign("u1") == ("stable", "stable", False)
    assert Experiment("e", {"stable": 0, "canary": 3}).assign("u1") == ("canary", "canary", False)


def test_two_arms_of_one_label_are_an_a_a_test():
    experiment = Experiment("aa", {"first": 1, "second": 1}, labels={"first": "stable", "second": "stable"})
    assigned = {experiment.assign(unit)[:2] for unit in UNITS[:100]}
    assert assigned == {("first", "stable"), ("second", "stable")}


def test_the_allocation_says_shares_and_salt_with_the_control_first():
    assert Experiment("e", {"a": 1, "b": 3}).allocation == "a=0.25,b=0.75;e"
    assert Experiment("e", {"a": 1, "b": 3}, control="b", salt="s;=,").allocation == "b=0.75,a=0.25;s;=,"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": ""}, "name=''"),
        ({"name": "a b"}, "letters, digits"),
        ({"arms": {}}, "give each arm its weight"),
        ({"arms": {"a=": 1}}, "'a=' is no name"),
        ({"arms": {"a": -1}}, "arms.a=-1: give a weight of zero or more"),
        ({"arms": {"a": True}}, "arms.a=True"),
        ({"arms": {"a": math.nan}}, "arms.a=nan"),
        ({"arms": {"a": "50"}}, "arms.a='50'"),
        ({"arms": {"a": 0, "b": 0}}, "at least one arm"),
        ({"control": "z"}, "control='z': name one of the arms (a, b)"),
        ({"labels": {"z": "stable"}}, "labels: 'z' is no arm; name one of a, b"),
        ({"labels": {"a": ""}}, "none of them empty"),
        ({"overrides": {"u1": "z"}}, "overrides: 'z' is no arm"),
        ({"salt": "a\0b"}, "printable"),
        ({"unit": ""}, "name the feature that is assigned"),
    ],
)
def test_a_wrong_field_is_named_with_its_mend(settings, message):
    with pytest.raises(ExperimentError) as caught:
        Experiment(**{"name": "e", "arms": {"a": 1, "b": 1}, **settings})
    assert message in str(caught.value)


def test_a_definition_is_read_from_json():
    document = {"name": "e", "arms": {"a": 1, "b": 3}, "unit": "session", "labels": {"b": "canary"}}
    assert parse_experiment(json.dumps(document)) == Experiment(**document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "holds list; give a JSON object"),
        ('{"name": "e"}', "arms: is missing"),
        (
            '{"name": "e", "arms": {"a": 1}, "sale": "x"}',
            "sale: is no field of an experiment; its fields are name",
        ),
    ],
)
def test_a_wrong_definition_is_refused(text, message):
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(text)
    assert message in str(caught.value)


def test_the_shares_of_releases():
    text = '{"shop": {"stable": 95.0, "canary": 5.0}}'
    experiment = parse_release_traffic(text, "shop")
    assert (experiment.name, experiment.control, dict(experiment.arms)) == (
        "shop-canary",
        "stable",
        {"stable": 95.0, "canary": 5.0},
    )
    assert parse_release_traffic(text, "shop", "shop-8").name == "shop-8"
    with pytest.raises(ExperimentError, match="other: is no model of that file; its models are shop"):
        parse_release_traffic(text, "other")
    with pytest.raises(ExperimentError, match="run `crossrec release promote` first"):
        parse_release_traffic("{}", "shop")
