"""Weights of an earlier run in a model of this one: rows follow their raw values, the rest its meaning."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from crossrec.components import artifacts
from crossrec.components.modeling import saving
from crossrec.components.modeling.id_maps import IdMaps
from crossrec.components.modeling.training import TrainingConfig
from crossrec.components.modeling.warm_start import PreviousRelease, WarmStart, find_start
from crossrec.components.ranking_trainer import train as ranking
from crossrec.components.ranking_trainer.config import RankingConfig
from tests.unit.components.modeling.two_runs import ITEMS, LIKES, TAGS, USERS, Run, make_run, place
from tests.unit.components.small_models import make_query, randomise


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Run, Run]:
    root = tmp_path_factory.mktemp("runs")
    return make_run(root / "before", "before"), make_run(root / "now", "now")


def ranking_model(run: Run, seed: int, **values: Any):
    config = RankingConfig.model_validate(
        {
            "features": ["user", "likes", "limit", "recent_items", "item_id", "tags", "price"],
            "tasks": [{"name": "click", "label": "clicked"}, {"name": "buy", "label": "bought"}],
            "embedding_dimension": 4,
            "interactions": [{"type": "dcn_v2", "deep": {"layers": [6]}}],
            **values,
        }
    )
    model = ranking.build(run.schema, config, run.table)
    randomise(model, seed)
    return model, config


def started(runs, now_values=None, before_values=None, epochs=None):
    """A model of now, started from one of before; with both, their configuration and the report."""
    before, now = runs
    former, former_config = ranking_model(before, 1, **(before_values or {}))
    directory = str(before.root / f"ranking-{abs(hash(json.dumps(before_values)))}")
    saving.save(directory, former, former_config, [])
    model, config = ranking_model(now, 2, **(now_values or {}))
    fresh = [weight.numpy() for weight in model.trainable_weights]
    places = {
        "ranking_model": directory,
        "cross_set": before.graphs,
        "item_table": str(before.root / "items"),
        "transform_graphs": before.graphs,
    }
    warm = WarmStart(PreviousRelease(version=3, epochs=epochs, artifacts=places), "ranking_model", now.graphs)
    warm.start(model, (now.schema, now.table, config), ranking._load_former)
    return former, model, fresh, warm


def rows_of(model: Any, name: str) -> np.ndarray:
    """Rows of the table of one feature or cross."""
    fields = model._fields
    start = fields._offsets[name]
    following = [offset for offset in fields._offsets.values() if offset > start]
    return fields._table.numpy()[start : min(following, default=fields._rows)]


def test_rows_are_equal_to_the_bit_where_an_id_moved_and_fresh_where_it_is_new(runs):
    former, model, fresh, warm = started(runs)
    old, new = rows_of(former, "user"), rows_of(model, "user")
    untouched, _ = ranking_model(runs[1], 2)
    for value in USERS["now"]:
        row = new[place(USERS["now"], value)]
        if value in USERS["before"]:
            np.testing.assert_array_equal(row, old[place(USERS["before"], value)])
        else:
            np.testing.assert_array_equal(row, rows_of(untouched, "user")[place(USERS["now"], value)])
    np.testing.assert_array_equal(rows_of(model, "recent_items")[1:], rows_of(former, "recent_items")[[0, 2, 3]])
    np.testing.assert_array_equal(model._fields._vectors.numpy(), former._fields._vectors.numpy())
    report = warm.report
    assert report.warm and report.version == 3 and report.reason == "" and report.new == ()
    assert report.weights_taken == report.weights > 0
    assert report.rows == model._fields._rows + model._fields._numbers
    maps = IdMaps(runs[1].ids, runs[0].ids)
    moved = sum((maps.of(name) >= 0).sum() for name in model._fields._offsets)
    assert report.rows_taken == model._fields._numbers + moved


def test_layers_are_taken_over_and_so_the_model_says_the_same_of_the_same(runs):
    before, now = runs
    # Without the small cross: what shares an id in one run need not in the other.
    crosses = {"crosses": ["user_x_likes", "user_x_tags"]}
    former, model, _, _ = started(runs, crosses, crosses)
    # One user, one item, in the ids of each run.
    answers = []
    for run, when, one in ((before, "before", former), (now, "now", model)):
        query = {name: values for name, values in make_query(1).items()}
        query["user"] = tf.constant([[place(USERS[when], "cas")]], tf.int64)
        query["likes"] = tf.constant([[place(LIKES[when], "red"), -1, -1]], tf.int64)
        query["recent_items"] = tf.constant([[ITEMS[when].index("i4"), -1]], tf.int64)
        row = ITEMS[when].index("i1")
        run.table.features["tags"][row] = [place(TAGS[when], "t2"), -1]
        run.table.features["price"][row] = 0.5
        rebuilt, _ = ranking_model(run, 9, **crosses)
        for weight, trained in zip(rebuilt.trainable_weights, one.trainable_weights):
            weight.assign(trained)
        answers.append(rebuilt.logits(query, tf.constant([[row]], tf.int64)).numpy())
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("now_values", "said"),
    [
        ({"embedding_dimension": 8}, "embedding_dimension was 4, is 8"),
        ({"tasks": [{"name": "click", "label": "clicked"}]}, "tasks"),
        ({"tasks": [{"name": "buy", "label": "bought"}, {"name": "click", "label": "clicked"}]}, "tasks"),
    ],
)
def test_another_architecture_is_a_cold_start_that_says_why(runs, now_values, said):
    _, model, fresh, warm = started(runs, now_values, epochs=1)
    for weight, value in zip(model.trainable_weights, fresh):
        np.testing.assert_array_equal(weight.numpy(), value)
    assert not warm.report.warm and said in warm.report.reason and "cold start" in str(warm.report)
    assert warm.shortened(TrainingConfig(epochs=7)).epochs == 7


@pytest.mark.parametrize(
    ("now_values", "said"),
    [
        ({"interactions": [{"type": "dcn_v2", "deep": {"layers": [5]}}]}, "interactions was"),
        ({"crosses": ["user_x_likes"]}, "other fields: small, user_x_tags"),
        ({"position_bias": False}, "position_bias was True, is False"),
    ],
)
def test_other_layers_begin_anew_and_rows_are_still_taken(runs, now_values, said):
    former, model, fresh, warm = started(runs, now_values, epochs=2)
    assert said in warm.report.reason and warm.report.weights_taken == 0 and warm.report.warm
    np.testing.assert_array_equal(rows_of(model, "tags")[2], rows_of(former, "tags")[place(TAGS["before"], "t3")])
    table = [weight.shape for weight in model.trainable_weights].index(model._fields._table.shape)
    for number, (weight, value) in enumerate(zip(model.trainable_weights, fresh)):
        if number != table and "vectors" not in weight.name:
            np.testing.assert_array_equal(weight.numpy(), value)
    assert warm.shortened(TrainingConfig(epochs=7)).epochs == 2


@pytest.mark.parametrize("gone", ["ranking_model", "cross_set", "item_table", "transform_graphs"])
def test_what_is_gone_is_a_cold_start(runs, tmp_path, gone):
    before, now = runs
    former, former_config = ranking_model(before, 1)
    saving.save(str(tmp_path / "model"), former, former_config, [])
    model, config = ranking_model(now, 2)
    fresh = [weight.numpy() for weight in model.trainable_weights]
    places = {
        "ranking_model": str(tmp_path / "model"),
        "cross_set": before.graphs,
        "item_table": str(before.root / "items"),
        "transform_graphs": before.graphs,
        gone: str(tmp_path / "gone"),
    }
    warm = WarmStart(PreviousRelease(version=3, artifacts=places), "ranking_model", now.graphs)
    warm.start(model, (now.schema, now.table, config), ranking._load_former)
    assert "cannot be read" in str(warm.report) and "gone" in str(warm.report)
    for weight, value in zip(model.trainable_weights, fresh):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_a_trainer_finds_its_start_and_leaves_a_report(runs, tmp_path):
    _, _, _, warm = started(runs)
    graphs, previous, model = artifacts.TransformGraphs(), artifacts.PreviousModel(), standard_artifacts.Model()
    graphs.uri, previous.uri, model.uri = runs[1].graphs, str(tmp_path / "previous"), str(tmp_path)
    assert find_start({"transform_graphs": [graphs]}, "ranking_model") is None
    PreviousRelease().write(previous.uri)
    assert find_start({"transform_graphs": [graphs], "previous_model": [previous]}, "ranking_model") is None
    warm.previous.write(previous.uri)
    found = find_start({"transform_graphs": [graphs], "previous_model": [previous]}, "ranking_model")
    assert found.previous == warm.previous and found.graphs == runs[1].graphs
    warm.write_report(model)
    assert json.loads((tmp_path / "warm_start.json").read_text())["version"] == 3
    assert model.get_string_custom_property("warm_start") == str(warm.report)
