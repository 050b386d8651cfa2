"""Which id of an earlier run is which of this one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.crosses import HashedCross, SimilarityCross
from crossrec.components.features.crosses.hashing import cross_ids_numpy, cross_keys_numpy
from crossrec.components.features.schema import add_crosses, build_schema
from crossrec.components.modeling.fields import Fields
from crossrec.components.modeling.id_maps import IdMaps, Ids
from tests.unit.components.modeling.two_runs import ITEMS, LIKES, TAGS, USERS, Run, make_run, place
from tests.unit.components.small_models import FEATURES


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Run, Run]:
    root = tmp_path_factory.mktemp("runs")
    return make_run(root / "before", "before"), make_run(root / "now", "now")


def test_ids_of_values_and_items_follow_what_they_stand_for(runs):
    before, now = runs
    maps = IdMaps(now.ids, before.ids)
    for name, values in (("user", USERS), ("likes", LIKES), ("tags", TAGS), ("item_id", ITEMS)):
        expected = [0, 1, *(place(values["before"], value) for value in values["now"])]
        assert maps.of(name).tolist() == expected, name
    assert maps.of("user").tolist() == [0, 1, 6, -1, 4, 2, 5, 3]
    assert maps.of("recent_items").tolist() == [-1, 0, 2, 3]
    assert maps.of("gone") is None


@pytest.mark.parametrize("name", ["user_x_likes", "small", "user_x_tags"])
def test_ids_of_crosses_follow_the_values_of_both_inputs(runs, name):
    before, now = runs
    found = IdMaps(now.ids, before.ids).of(name)
    first, second = before.schema.cross(name).inputs
    values = {"user": USERS, "likes": LIKES, "tags": TAGS}

    def id_of(run: Run, when: str, one: str, other: str) -> int:
        pair = [np.array([[place(values[f][when], v)]]) for f, v in ((first, one), (second, other))]
        cross = run.schema.cross(name)
        if isinstance(cross.config, HashedCross):
            return int(cross_ids_numpy(pair, name, cross.buckets)[0, 0])
        table = run.schema.tables.arrays[name]
        (at,) = np.flatnonzero(table["keys"] == cross_keys_numpy(pair, name)[0, 0])
        return int(table["ids"][at])

    shared = [[v for v in values[f]["now"] if v in values[f]["before"]] for f in (first, second)]
    new = [id_of(now, "now", *pair) for pair in itertools.product(*shared)]
    old = [id_of(before, "before", *pair) for pair in itertools.product(*shared)]
    assert new != old
    for new_id in set(new):
        # Combinations that share an id now may have had different ones: one of theirs.
        assert found[new_id] in {o for n, o in zip(new, old) if n == new_id} or name == "small"
    if name != "small":
        assert [int(found[n]) for n in new] == old


def test_a_cross_of_ids_that_did_not_move_keeps_its_ids_whatever_its_size(tmp_path):
    before, now = (make_run(tmp_path / name, "before") for name in ("one", "two"))
    maps = IdMaps(now.ids, before.ids)
    assert maps.of("user_x_likes").tolist() == list(range(2**20 + 1))
    other = make_run(tmp_path / "three", "before", (HashedCross(inputs=["user", "likes"], buckets=2**19),))
    assert IdMaps(other.ids, before.ids).of("user_x_likes") is None


VECTORS = FeaturesConfig.model_validate(
    {
        "query": {**FEATURES.model_dump()["query"], "taste": {"type": "vector", "dimension": 3}},
        "item": {**FEATURES.model_dump()["item"], "picture": {"type": "vector", "dimension": 3}},
    }
)


@pytest.mark.parametrize("measures", [("dot", "cosine"), ("cosine", "dot")])
def test_numbers_of_a_cross_are_taken_over_where_they_still_mean_the_same(tmp_path, measures):
    """As many numbers are not enough: those of a cross that is made otherwise begin anew."""
    cross = SimilarityCross(inputs=("taste", "picture"), measures=measures)
    runs = []
    for crosses in ([SimilarityCross(inputs=("taste", "picture"))], [cross]):
        schema = add_crosses(build_schema(VECTORS, {}, ("item_id", 4), ()), crosses)
        runs.append(Ids(schema, str(tmp_path), np.array([])))
    maps = IdMaps(runs[1], runs[0])
    layers = [Fields(run.schema, [cross.name, "taste", "price"], 2) for run in runs]
    values = {"taste": tf.ones([1, 3]), "price": tf.ones([1, 1]), cross.name: tf.ones([1, 2])}
    for layer in layers:
        layer(values, list(values))
    former, model = layers
    fresh = model._vectors.numpy()
    taken, without = model.take_rows(former, maps.of)
    same = measures == ("dot", "cosine")
    assert (taken, without) == (6 if same else 4, [] if same else [cross.name])
    np.testing.assert_array_equal(model._vectors.numpy()[2:], former._vectors.numpy()[2:])
    np.testing.assert_array_equal(model._vectors.numpy()[:2], (former._vectors.numpy() if same else fresh)[:2])


@pytest.mark.parametrize(
    ("meaning", "topic", "kept"),
    [
        (None, None, (False, False)),
        ("weights of monday", "weights and centres of monday", (True, True)),
        ("weights of monday", "weights and centres of tuesday", (True, False)),
        ("weights of tuesday", "weights and centres of tuesday", (False, False)),
    ],
)
def test_what_an_encoder_made_of_texts_means_the_same_only_where_it_is_the_same(
    tmp_path, monkeypatch, meaning, topic, kept
):
    """One configuration is not enough: it may have been trained on other texts."""
    text = {"type": "text", "column": "title", "encoder": {"dimension": 3}}
    features = FeaturesConfig.model_validate(
        {
            "query": FEATURES.model_dump()["query"],
            "item": {**FEATURES.model_dump()["item"], "meaning": text, "topic": {**text, "clusters": 4}},
        }
    )
    key = features.item["topic"].encoder.key
    monday = {f"title__{key}": "weights of monday", f"title__{key}_4": "weights and centres of monday"}
    today = {} if meaning is None else {f"title__{key}": meaning, f"title__{key}_4": topic}
    schemas = [build_schema(features, {"topic": 5}, ("item_id", 4), (), made) for made in (today, monday)]
    assert schemas[0].feature("meaning").encoder == schemas[0].feature("topic").encoder == key
    maps = IdMaps(*[Ids(schema, str(tmp_path), np.array([])) for schema in schemas])
    monkeypatch.setattr(Ids, "vocabulary", lambda ids, feature: None)
    expected = [np.arange(3) if kept[0] else None, np.arange(5) if kept[1] else None]
    for name, wanted in zip(("meaning", "topic"), expected):
        np.testing.assert_array_equal(maps.of(name), wanted)
    assert maps.of("price").tolist() == [0]
