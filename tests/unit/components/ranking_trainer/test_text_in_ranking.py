"""A ranking model that sees texts: as vectors, by how well they match, and in what recent items say of a candidate."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.errors import DataError
from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.crosses import BM25Cross, HashedCross, SimilarityCross
from crossrec.components.features.crosses.bm25 import TermTable, bm25_numpy
from crossrec.components.features.crosses.fitting import fit_crosses
from crossrec.components.features.schema import ITEM_ROW, add_crosses, build_schema
from crossrec.components.modeling import saving
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.ranking_trainer.train import build
from tests.unit.components.small_models import CARDINALITIES, FEATURES, ITEMS, make_examples, make_table, randomise

SIZE, BUCKETS = 5, 30
TEXT = FeaturesConfig.model_validate(
    {
        "query": {
            **FEATURES.model_dump()["query"],
            "words": {"type": "text", "max_tokens": 3, "hash_buckets": BUCKETS},
            "meaning": {"type": "vector", "dimension": SIZE},
        },
        "item": {
            **FEATURES.model_dump()["item"],
            "title": {"type": "text", "max_tokens": 4, "hash_buckets": BUCKETS},
            "title_meaning": {"type": "vector", "dimension": SIZE},
        },
    }
)
BM25 = BM25Cross(inputs=("words", "title"))
EXPLICIT = (
    BM25,
    SimilarityCross(inputs=("meaning", "title_meaning")),
    HashedCross(inputs=("user", "tags"), buckets=50),
)
FOUND = (HashedCross(inputs=("user", "item_id"), buckets=60),)


def padded(rng, rows, width):
    return np.where(rng.random((rows, width)) < 0.3, -1, rng.integers(1, BUCKETS + 1, (rows, width)))


def make_texts(rows, seed=0):
    """Rows as the trainer reads them; the first one has no query."""
    rng = np.random.default_rng(seed)
    words, meaning = padded(rng, rows, 3), rng.normal(size=(rows, SIZE)).astype(np.float32)
    words[0], meaning[0] = -1, 0
    return {**make_examples(rows, seed), "words": tf.constant(words), "meaning": tf.constant(meaning)}


def make_catalogue():
    rng, table = np.random.default_rng(7), make_table()
    table.features["title"] = padded(rng, ITEMS + 1, 4)
    table.features["title_meaning"] = rng.normal(size=(ITEMS + 1, SIZE)).astype(np.float32)
    for name, nothing in (("title", -1), ("title_meaning", 0)):
        table.features[name][ITEMS] = nothing
    return table


@pytest.fixture(scope="module")
def schema():
    cardinalities = {**CARDINALITIES, "words": BUCKETS + 1, "title": BUCKETS + 1}
    plain = build_schema(TEXT, cardinalities, ("item_id", ITEMS), ("clicked", "bought"))
    with_crosses = add_crosses(add_crosses(plain, EXPLICIT), FOUND, found=True)
    rows = {name: values.numpy() for name, values in make_texts(40).items()}
    return fit_crosses(with_crosses, make_catalogue().features, lambda: [rows], "clicked")


def make_model(schema, seed=1, **values):
    config = RankingConfig.model_validate(
        {
            "features": ["user", "words", "meaning", "title_meaning"],
            "tasks": [{"name": "click", "label": "clicked"}],
            "embedding_dimension": 4,
            "interactions": [{"type": "dcn_v2", "deep": {"layers": [6]}}],
            **values,
        }
    )
    model = build(schema, config, make_catalogue())
    randomise(model, seed)
    return model, config


INTERESTS = [
    [{"type": kind, "sequence": "recent_items", "features": ["title_meaning"]}]
    for kind in ("din", "transformer", "lstm", "average")
]


@pytest.mark.parametrize("interest", [[], *INTERESTS], ids=lambda interest: interest[0]["type"] if interest else "none")
def test_candidates_are_scored_alike_alone_together_and_after_reload(schema, interest, tmp_path):
    model, config = make_model(schema, interest=interest)
    query = {name: values[:4] for name, values in make_texts(6).items()}
    rows = tf.constant(np.random.default_rng(1).integers(-1, ITEMS, (4, 5)))
    whole = model.logits(query, rows).numpy()
    alone = [model.logits(query, rows[:, place : place + 1]).numpy() for place in range(5)]
    np.testing.assert_allclose(np.concatenate(alone, 1), whole, rtol=1e-4, atol=1e-5)
    saving.save(str(tmp_path), model, config, [])
    other = build(schema, saving.read_config(str(tmp_path), RankingConfig), make_catalogue())
    saving.restore(str(tmp_path), other)
    np.testing.assert_array_equal(other.logits(query, rows).numpy(), whole)


@pytest.mark.parametrize("interest", INTERESTS, ids=lambda interest: interest[0]["type"])
def test_recent_items_with_one_text_are_one_to_an_interest(schema, interest):
    """And those with another text are not; an item without a text adds nothing to the mean's sum."""
    model, _ = make_model(schema, features=["user"], crosses=[], interest=interest)
    texts = make_catalogue().features["title_meaning"]
    texts[7] = texts[3]
    model._items._tables["title_meaning"].assign(texts)
    query = {name: tf.repeat(values[:1], 3, 0) for name, values in make_texts(1).items()}
    query["recent_items"] = tf.constant([[3, -1], [7, -1], [5, -1]], tf.int64)
    alike, same, other = model.logits(query, tf.constant([[2, 4]] * 3)).numpy()
    np.testing.assert_allclose(alike, same, rtol=1e-5)
    assert np.abs(alike - other).max() > 1e-3


def test_the_loss_reaches_the_vectors_of_texts_and_matches(schema):
    model, _ = make_model(schema, interest=INTERESTS[0])
    with tf.GradientTape() as tape:
        loss = model.compute_loss(make_texts(64), training=True)
    vectors = next(weight for weight in model.trainable_weights if "vectors" in weight.name)
    # Two texts, three measures of BM25 and two of similarity.
    assert vectors.shape[0] == 2 * SIZE + 3 + 2
    gradient = tf.convert_to_tensor(tape.gradient(loss, vectors)).numpy()
    assert np.all(np.abs(gradient).max(1) > 0)


def test_a_model_sees_the_bm25_of_each_candidate(schema):
    """Everything else held still, logits follow the cross, whose numbers are those of the reference."""
    model, _ = make_model(schema, features=["user"], crosses=["words_x_title_bm25"])
    catalogue, texts = make_catalogue(), make_texts(8)
    table = TermTable(**schema.tables.arrays["words_x_title_bm25"])
    rows = np.tile(np.arange(ITEMS), (8, 1))
    query = {**texts, "user": tf.zeros([8, 1], tf.int64)}
    logits = model.logits(query, tf.constant(rows)).numpy()[..., 0]
    expected = np.stack(
        [
            bm25_numpy(
                texts["words"].numpy(), [np.repeat(catalogue.features["title"][row : row + 1], 8, 0)], table, BM25
            )
            for row in range(ITEMS)
        ],
        1,
    )
    flat, values = expected.reshape(-1, 3).round(4), logits.reshape(-1)
    groups = [values[(flat == one).all(1)] for one in np.unique(flat, axis=0)]
    assert len(groups) > 5 and max(np.ptp(group) for group in groups) < 1e-3
    assert np.ptp([group.mean() for group in groups]) > 0.1
    assert (expected[0] == 0).all() and np.ptp(logits[0]) < 1e-5


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (None, ["words_x_title_bm25", "meaning_x_title_meaning_similarity", "user_x_tags", "user_x_item_id"]),
        (["found"], ["user_x_item_id"]),
        (["found", "words_x_title_bm25"], ["user_x_item_id", "words_x_title_bm25"]),
        (["user_x_tags"], ["user_x_tags"]),
        ([], []),
    ],
)
def test_a_spec_can_ask_for_the_crosses_that_were_found(schema, asked, names, tmp_path):
    schema.write(str(tmp_path))
    model, _ = make_model(type(schema).read(str(tmp_path)), crosses=asked)
    assert sorted(model._crosses.names) == sorted(names)
    model.logits(make_texts(2), make_texts(2)[ITEM_ROW])


def test_texts_are_no_default_of_an_interest_and_can_be_asked_for(schema):
    with pytest.raises(DataError, match=r"ranking\.interest\.features: left out.*Name item features"):
        make_model(schema, interest=[{"type": "din", "sequence": "recent_items"}])
