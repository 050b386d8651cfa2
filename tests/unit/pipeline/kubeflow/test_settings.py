"""Runtime parameters change the properties that they are for, and nothing if they are empty."""

import json

import pytest

from crossrec.pipeline.kubeflow.settings import Setting, SettingError, names

PROPERTIES = {"root": "/a", "config": '{"name":"é","training":{"seed":0,"rate":0.5,"limit":Infinity}}'}


def applied(text, **parameters):
    properties = dict(PROPERTIES)
    Setting.parse(text).apply(properties, parameters)
    return properties


def test_a_whole_property():
    assert applied("root={where}/serving", where="/mnt/x") == {**PROPERTIES, "root": "/mnt/x/serving"}


def test_a_key_inside_of_json_keeps_its_type_and_its_neighbours():
    properties = applied("config.training.seed={seed}", seed="7")
    assert json.loads(properties["config"]) == {
        "name": "é",
        "training": {"seed": 7, "rate": 0.5, "limit": float("inf")},
    }
    assert properties["root"] == PROPERTIES["root"]


def test_the_same_value_gives_the_same_text():
    assert applied("config.training.seed={seed}", seed="0") == PROPERTIES


@pytest.mark.parametrize("text", ["config.training.seed={seed}", "root={seed}/x"])
def test_an_empty_parameter_changes_nothing(text):
    assert applied(text, seed="") == PROPERTIES


def test_several_parameters():
    assert applied("root={a}-{b}-{a}", a="1", b="2")["root"] == "1-2-1"
    assert names("{a}-{b}-{a}") == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("root", "is not PROPERTY=TEMPLATE"),
        ("root=/fixed", "is not PROPERTY=TEMPLATE"),
        ("={a}", "is not PROPERTY=TEMPLATE"),
        ("other={a}", "there is no property 'other', only root, config"),
        ("config.training.other={a}", "config holds nothing at 'training.other'"),
        ("config.training.seed={a}", "a: 'x' is no whole number, as config.training.seed must be"),
    ],
)
def test_what_does_not_fit_is_named(text, message):
    with pytest.raises(SettingError, match=message):
        applied(text, a="x")


def test_text_and_back():
    assert str(Setting.parse("config.seed={seed}")) == "config.seed={seed}"
