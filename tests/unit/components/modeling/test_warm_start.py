"""Weights of an earlier run in a model of this one: rows follow their raw values, the rest its meaning."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from crossrec.components import artifacts
from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.crosses import HashedCross, SimilarityCross, VocabularyCross
from crossrec.components.features.crosses.hashing import cross_ids_numpy, cross_keys_numpy
from crossrec.components.features.crosses.tables import CrossTables
from crossrec.components.features.crosses.vocabulary import make_vocabulary
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import (
    ITEM_ROW,
    TIMESTAMP,
    USER,
    FeatureSchema,
    add_crosses,
    build_schema,
    label_key,
)
from crossrec.components.modeling import saving
from crossrec.components.modeling.fields import Fields
from crossrec.components.modeling.id_maps import IdMaps, Ids
from crossrec.components.modeling.inputs import TrainingData
from crossrec.components.modeling.training import TrainingConfig
from crossrec.components.modeling.warm_start import PreviousRelease, WarmStart, find_start
from crossrec.components.ranking_trainer import train as ranking
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.retrieval_trainer import train as retrieval
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from tests.unit.components.records import write_records
from tests.unit.components.small_models import FEATURES, make_query, randomise

USERS = {"before": ["ann", "bob", "cas", "dee", "eve"], "now": ["eve", "new", "cas", "ann", "dee", "bob"]}
LIKES = {"before": ["red", "blue", "old"], "now": ["blue", "red"]}
TAGS = {"before": ["t1", "t2", "t3"], "now": ["t3", "t1", "t2"]}
ITEMS = {"before": ["i1", "i2", "i3", "i4"], "now": ["i0", "i1", "i3", "i4"]}
CROSSES = (
    HashedCross(inputs=["user", "likes"], buckets=2**20),
    HashedCross(inputs=["likes", "tags"], buckets=64, name="small"),
    VocabularyCross(inputs=["user", "tags"], min_count=1),
)


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run left on disk."""

    schema: FeatureSchema
    table: ItemTable
    root: Path

    @property
    def graphs(self) -> str:
        return str(self.root / "graphs")

    @property
    def ids(self) -> Ids:
        return Ids.of(self.schema, self.graphs, self.table)


def make_run(root: Path, when: str, crosses=CROSSES, items=None) -> Run:
    """Schema, catalogue and vocabularies of a run, with those in the places where tf.Transform has them."""
    items = ITEMS[when] if items is None else items
    vocabularies = {"user": USERS[when], "likes": LIKES[when], "tags": TAGS[when], "item_id": items}
    for side, names in (("query", ("user", "likes")), ("item", ("tags", "item_id"))):
        assets = root / "graphs" / side / "transform_fn" / "assets"
        assets.mkdir(parents=True)
        (root / "graphs" / side / "transformed_metadata").mkdir()
        for name in names:
            (assets / name).write_text("".join(f"{value}\n" for value in vocabularies[name]))
    cardinalities = {name: len(values) + 2 for name, values in vocabularies.items()} | {"recent_items": len(items)}
    schema = build_schema(FEATURES, cardinalities, ("item_id", len(items)), ("clicked", "bought"))
    schema = add_crosses(schema, crosses)
    fitted, tables = [], {}
    for cross in schema.crosses:
        if isinstance(cross.config, VocabularyCross):
            pairs = np.array(list(itertools.product(range(cardinalities["user"]), range(cardinalities["tags"]))))
            keys = cross_keys_numpy([pairs[:, :1], pairs[:, 1:]], cross.name)[:, 0]
            keys, ids = make_vocabulary(keys, 1 + np.arange(len(keys)) % 7, 1, 1000)
            tables[cross.name] = {"keys": keys, "ids": ids}
            cross = cross.model_copy(update={"buckets": len(keys)})
        fitted.append(cross)
    schema = schema.with_fitted(fitted, CrossTables(tables))
    rng = np.random.default_rng(0)
    ids = np.empty(len(items), object)
    ids[:] = items
    table = ItemTable(
        ids=ids,
        features={
            "item_id": np.append(np.arange(2, len(items) + 2), 1)[:, None],
            "tags": np.array([[2 + n % 3, -1] for n in range(len(items))] + [[-1, -1]]),
            "price": rng.normal(size=(len(items) + 1, 1)).astype(np.float32),
        },
        frequencies=np.ones(len(items), np.int64),
        display={},
    )
    schema.write(str(root / "graphs"))
    table.write(str(root / "items"))
    return Run(schema, table, root)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Run, Run]:
    root = tmp_path_factory.mktemp("runs")
    return make_run(root / "before", "before"), make_run(root / "now", "now")


def place(values: list[str], value: str) -> int:
    """Id in a vocabulary: 0 is missing and 1 unknown."""
    return values.index(value) + 2 if value in values else -1


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


def test_what_an_encoder_made_of_texts_means_something_else_in_each_run(tmp_path):
    text = {"type": "text", "column": "title", "encoder": {"dimension": 3}}
    features = FeaturesConfig.model_validate(
        {
            "query": FEATURES.model_dump()["query"],
            "item": {**FEATURES.model_dump()["item"], "meaning": text, "topic": {**text, "clusters": 4}},
        }
    )
    schema = build_schema(features, {"topic": 5}, ("item_id", 4), ())
    assert schema.feature("meaning").encoder == schema.feature("topic").encoder == features.item["topic"].encoder.key
    maps = IdMaps(*[Ids(schema, str(tmp_path), np.array([]))] * 2)
    assert maps.of("meaning") is None and maps.of("topic") is None
    assert maps.of("price").tolist() == [0]


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


PEOPLE = [f"person {n}" for n in range(12)]
GOODS = [f"good {n:02}" for n in range(40)]


def make_days(root: Path, when: str, count: int) -> tuple[Run, TrainingData]:
    """A day on which everybody takes from three goods of their own, in the ids of that day."""
    rng = np.random.default_rng(len(when))
    users = list(rng.permutation(PEOPLE))
    goods = GOODS if when == "before" else sorted([*GOODS[:-1], "a new good"])
    USERS[when] = users
    run = make_run(root / when, when, (), goods)
    patterns = {}
    for split, rows in (("train", count), ("validation", 200)):
        query = {name: values.numpy() for name, values in make_query(rows, len(split)).items()}
        records = []
        for n in range(rows):
            person = int(rng.integers(len(PEOPLE)))
            row = {name: values[n].tolist() for name, values in query.items()}
            row["user"] = [place(users, PEOPLE[person])]
            row["recent_items"] = [-1, -1]
            good = GOODS[3 * person + int(rng.integers(3))]
            row |= {USER: person, TIMESTAMP: n * 3600, ITEM_ROW: goods.index(good)}
            records.append({**row, label_key("clicked"): 1.0})
        patterns[split] = write_records(run.root / split, records)
    spec = {
        feature.name: tf.io.FixedLenFeature([feature.width], tf.float32 if feature.kind == "dense" else tf.int64)
        for feature in run.schema.side("query")
    }
    spec |= {name: tf.io.FixedLenFeature([1], tf.int64) for name in (USER, TIMESTAMP, ITEM_ROW)}
    spec[label_key("clicked")] = tf.io.FixedLenFeature([1], tf.float32)
    return run, TrainingData(patterns, spec)


def test_one_epoch_of_the_next_day_is_better_from_a_warm_start(tmp_path, monkeypatch):
    monkeypatch.setitem(USERS, "before", [])
    monkeypatch.setitem(USERS, "now", [])

    def config(epochs: int) -> RetrievalConfig:
        return RetrievalConfig(
            query={"features": ["user"], "hidden_layers": [16]},
            item={"features": ["item_id"], "hidden_layers": [16]},
            label="clicked",
            dimension=8,
            embedding_dimension=8,
            requests={},
            training={"epochs": epochs, "batch_size": 64, "learning_rate": 0.01, "patience": 0},
        )

    before, first_day = make_days(tmp_path, "before", 1500)
    now, next_day = make_days(tmp_path, "now", 300)
    former = retrieval.train(before.schema, before.table, config(10), first_day, str(tmp_path / "checkpoints-1"))
    retrieval.save(str(tmp_path / "former"), former, config(10))
    places = {
        "retrieval_model": str(tmp_path / "former"),
        "cross_set": before.graphs,
        "item_table": str(before.root / "items"),
        "transform_graphs": before.graphs,
    }
    warm = WarmStart(PreviousRelease(version=1, epochs=1, artifacts=places), "retrieval_model", now.graphs)
    parts = (now.schema, now.table)
    cold_run = retrieval.train(*parts, config(1), next_day, str(tmp_path / "checkpoints-2"))
    warm_run = retrieval.train(*parts, config(9), next_day, str(tmp_path / "checkpoints-3"), warm)
    # Chance puts three goods of forty at an NDCG of some .2, the best possible order is 1.
    assert len(warm_run.history) == len(cold_run.history) == 1
    assert warm_run.history[0]["monitor"] > cold_run.history[0]["monitor"] + 0.2
    assert warm_run.history[0]["loss"] < cold_run.history[0]["loss"]
