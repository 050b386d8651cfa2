"""Trained models in a catalogue with further items: the known ones as before, the new ones as ones never seen."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.catalogue_update.carry import Catalogue, carry, carry_ranking, carry_retrieval
from crossrec.components.modeling import saving
from crossrec.components.ranking_trainer import train as ranking
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.retrieval_trainer import train as retrieval
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from tests.unit.components.small_models import ITEMS, make_query, make_schema, make_table, randomise

MORE = 3
# The first new item has the content of item 4, the second one that of item 4 too, the third one that of item 7.
LIKE = [4, 4, 7]
TOWERS = {
    "plain": {},
    "own vectors": {"query": {"encoders": [{"type": "gru", "sequence": "recent_items", "units": 5}]}},
    "popularity": {"popularity": {"half_life_days": 3}},
    "graph": {"graph": {"user": "user", "history": "recent_items", "layers": 2}, "loss": {"negatives": "catalogue"}},
    "cold start": {"item": {"cold_start": {"features": ["item_id"]}}},
}


def grown(catalogue):
    """The same catalogue and three items more, whose ids nobody has trained."""
    table, total = catalogue.table, ITEMS + MORE
    features = {
        name: np.concatenate([values[:-1], values[LIKE], values[-1:]]) for name, values in table.features.items()
    }
    features["item_id"][ITEMS:total] = 1
    larger = replace(
        table,
        ids=np.append(table.ids, np.array(["new a", "new b", "new c"], object)),
        features=features,
        frequencies=np.append(table.frequencies, np.zeros(MORE, np.int64)),
    )
    schema = catalogue.schema
    outputs = [f.model_copy(update={"cardinality": total}) if f.kind == "items" else f for f in schema.features]
    return Catalogue(
        schema.model_copy(update={"items": total, "features": tuple(outputs)}).with_fitted(
            schema.crosses, schema.tables
        ),
        larger,
    )


@pytest.fixture(scope="module")
def before():
    return Catalogue(make_schema(), make_table())


@pytest.fixture(scope="module")
def now(before):
    return grown(before)


def towers_config(parts):
    query = {"features": ["user", "likes", "limit", "recent_items"], **parts.get("query", {})}
    item = {"features": ["item_id", "tags", "price"], **parts.get("item", {})}
    rest = {name: value for name, value in parts.items() if name not in ("query", "item")}
    return RetrievalConfig(query=query, item=item, label="clicked", embedding_dimension=5, dimension=5, **rest)


def trained_towers(catalogue, config):
    model = retrieval.build(catalogue.schema, config, catalogue.table)
    randomise(model, 3)
    rng = np.random.default_rng(0)
    if model.popularity is not None:
        model.popularity.set_history(np.array([9]), rng.normal(size=(1, ITEMS + 1)).astype(np.float32))
    if model.graph is not None:
        model.graph.set_edges(rng.integers(0, 9, 40), rng.integers(0, ITEMS - 1, 40))
        model.finish()
    return model


@pytest.mark.parametrize("parts", TOWERS.values(), ids=TOWERS)
def test_towers_embed_known_items_and_queries_as_before(before, now, parts, tmp_path):
    config = towers_config(parts)
    former = trained_towers(before, config)
    saving.save(str(tmp_path / "former"), former, config, [{"loss": 1.0}])
    carry_retrieval(str(tmp_path / "former"), str(tmp_path / "now"), before, now)
    model = retrieval.load(str(tmp_path / "now"), now.schema, now.table, served=True)
    rows = tf.range(ITEMS, dtype=tf.int64)
    np.testing.assert_array_equal(model.embed_items(rows), former.embed_items(rows))
    unknown = tf.constant([-1], tf.int64)
    np.testing.assert_array_equal(model.embed_items(unknown), former.embed_items(unknown))
    query = make_query(9)
    np.testing.assert_array_equal(model.embed_queries(query), former.embed_queries(query))
    assert saving.read_history(str(tmp_path / "now")) == [{"loss": 1.0}]


@pytest.mark.parametrize("parts", TOWERS.values(), ids=TOWERS)
def test_new_items_are_known_by_their_content(before, now, parts):
    config = towers_config(parts)
    former, model = trained_towers(before, config), retrieval.build(now.schema, config, now.table)
    randomise(model, 9)
    carry(model, former, ITEMS)
    new = model.embed_items(tf.range(ITEMS, ITEMS + MORE, dtype=tf.int64)).numpy()
    np.testing.assert_array_equal(new[0], new[1])
    assert np.abs(new[0] - new[2]).max() > 1e-3
    # An untrained twin, with the content in the place of an item that the graph and popularity do not know.
    like = dict(before.table.features)
    like["item_id"], like["tags"], like["price"] = (values.copy() for values in like.values())
    for values in like.values():
        values[ITEMS - 1] = values[LIKE[2]]
    like["item_id"][ITEMS - 1] = 1
    frequencies = np.append(before.table.frequencies[:-1], 0)
    twin = retrieval.build(before.schema, config, replace(before.table, features=like, frequencies=frequencies))
    randomise(twin, 3)
    if twin.popularity is not None:
        shares = former.popularity.now().numpy() / former.popularity.weights[0].numpy()
        shares[ITEMS - 1] = shares[ITEMS]
        twin.popularity.set_history(np.array([9]), shares[None])
    if twin.graph is not None:
        for name in ("_users", "_items", "_neighbours", "_known", "_roots"):
            getattr(twin.graph, name).assign(getattr(former.graph, name))
    np.testing.assert_allclose(new[2], twin.embed_items(tf.constant([ITEMS - 1], tf.int64))[0], rtol=1e-6, atol=1e-7)


def test_a_new_recent_item_adds_nothing_but_its_count(before, now):
    config = towers_config({"query": {"features": ["recent_items"], "hidden_layers": [], "output": "sum"}})
    config = config.model_copy(update={"normalise": False})
    former, model = trained_towers(before, config), retrieval.build(now.schema, config, now.table)
    carry(model, former, ITEMS)
    query = make_query(1)
    alone = model.embed_queries({**query, "recent_items": tf.constant([[2, -1]], tf.int64)}).numpy()
    beside = model.embed_queries({**query, "recent_items": tf.constant([[2, ITEMS]], tf.int64)}).numpy()
    np.testing.assert_allclose(beside, alone / 2, rtol=1e-6)


def test_ranking_scores_known_items_as_before(before, now, tmp_path):
    config = RankingConfig(
        features=["user", "likes", "limit", "recent_items", "item_id", "tags", "price"],
        tasks=[{"name": "click", "label": "clicked"}],
        interest=[{"type": "average", "sequence": "recent_items", "features": ["tags"]}],
    )
    former = ranking.build(before.schema, config, before.table)
    randomise(former, 5)
    former.set_fusion(np.array([[0.9, 0.2, -0.3]], np.float32))
    saving.save(str(tmp_path / "former"), former, config, [])
    carry_ranking(str(tmp_path / "former"), str(tmp_path / "now"), before, now)
    model = ranking.build(now.schema, config, now.table)
    saving.restore(str(tmp_path / "now"), model)
    query, rows = make_query(4), tf.constant(np.arange(4 * ITEMS).reshape(4, ITEMS) % ITEMS)
    retrieved = tf.constant(np.random.default_rng(1).normal(size=(4, ITEMS)), tf.float32)
    np.testing.assert_array_equal(
        model.probabilities(query, rows, retrieved), former.probabilities(query, rows, retrieved)
    )
    new = model.probabilities(query, tf.constant([[ITEMS, ITEMS + 1, ITEMS + 2]] * 4), retrieved[:, :1] * [[1, 1, 1]])
    np.testing.assert_array_equal(new[:, 0], new[:, 1])
    assert np.abs(new[:, 0] - new[:, 2]).max() > 1e-4


def test_models_of_other_parts_are_refused(before, now):
    former = trained_towers(before, towers_config({}))
    other = towers_config({"popularity": {"half_life_days": 3}})
    with pytest.raises(ValueError, match="other parts"):
        carry(retrieval.build(now.schema, other, now.table), former, ITEMS)
