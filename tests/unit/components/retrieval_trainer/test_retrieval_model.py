import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.schema import ITEM_ROW
from crossrec.components.modeling import saving
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.model import sampling_probabilities
from crossrec.components.retrieval_trainer.train import build, recall
from tests.unit.components.small_models import ITEMS, make_query, make_schema, make_table, randomise

SCHEMA = make_schema()


def make_model(table=None, seed=0, normalise=True, **loss):
    config = RetrievalConfig(
        query={"features": ["user", "likes", "limit", "recent_items"], "hidden_layers": [6]},
        item={"features": ["item_id", "tags", "price"], "hidden_layers": []},
        label="clicked",
        embedding_dimension=4,
        dimension=5,
        normalise=normalise,
        loss=loss,
    )
    model = build(SCHEMA, config, table or make_table())
    randomise(model, seed)
    return model, config


def batch_of(rows, seed=0):
    return {**make_query(len(rows), seed), ITEM_ROW: tf.constant(rows, tf.int64)[:, None]}


def numpy_loss(model, batch, probabilities, temperature, logq, accidental):
    """Softmax over the batch: scores over temperature, minus log Q, copies of the own item left out."""
    rows = batch[ITEM_ROW].numpy()[:, 0]
    scores = (model.embed_queries(batch).numpy() @ model.embed_items(batch[ITEM_ROW][:, 0]).numpy().T).astype(float)
    scores /= temperature
    if logq:
        scores -= np.log(probabilities[rows])[None]
    if accidental:
        copies = (rows[:, None] == rows[None]) & ~np.eye(len(rows), dtype=bool)
        scores[copies] = -np.inf
    return np.mean(np.log(np.exp(scores).sum(1)) - np.diag(scores))


@pytest.mark.parametrize("logq", [True, False])
@pytest.mark.parametrize("accidental", [True, False])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_is_the_corrected_softmax_over_the_batch(logq, accidental, temperature):
    table = make_table()
    model, _ = make_model(
        table,
        temperature=temperature,
        logq_correction=logq,
        remove_accidental_hits=accidental,
        normalise=temperature < 1,
    )
    batch = batch_of([0, 3, 3, 7, 11, 3])
    probabilities = sampling_probabilities(table.frequencies).astype(np.float64)
    expected = numpy_loss(model, batch, probabilities, temperature, logq, accidental)
    assert float(model.compute_loss(batch)) == pytest.approx(expected, rel=1e-4)


def test_a_frequent_item_is_corrected_downwards_as_a_negative():
    """Item 1 is the negative of seven rows: the correction takes log 100 off its score there. A wrong sign adds it."""
    batch = batch_of([0, 2, 3, 4, 5, 6, 7, 1])
    losses = []
    for count in (10, 1000):
        table = make_table(frequencies=[10, count] + [10] * (ITEMS - 2))
        model, _ = make_model(table, temperature=1.0)
        losses.append(float(model.compute_loss(batch)))
    probabilities = sampling_probabilities(table.frequencies).astype(np.float64)
    right = numpy_loss(model, batch, probabilities, 1.0, True, True)
    wrong = numpy_loss(model, batch, 1.0 / probabilities, 1.0, True, True)
    assert losses[1] == pytest.approx(right, rel=1e-4)
    assert abs(wrong - losses[0]) > 2 * abs(right - losses[0]) > 0.1, "the example no longer tells the signs apart"


def test_copies_of_the_own_item_are_no_negatives():
    model, _ = make_model(remove_accidental_hits=True)
    assert float(model.compute_loss(batch_of([4, 4, 4]))) == pytest.approx(0.0, abs=1e-5)
    model, _ = make_model(remove_accidental_hits=False)
    assert float(model.compute_loss(batch_of([4, 4, 4]))) > 0.1


def test_sampling_probabilities_are_shares_of_the_positives():
    frequencies = np.array([10, 0, 30, 60])
    found = sampling_probabilities(frequencies)
    np.testing.assert_allclose(found, [0.1, 0.005, 0.3, 0.6], rtol=1e-6)
    many = sampling_probabilities(np.random.default_rng(0).integers(1, 1000, 5000))
    assert many.dtype == np.float32 and many.sum() == pytest.approx(1.0, abs=1e-4)
    assert np.isfinite(sampling_probabilities(np.zeros(3, np.int64))).all()


def test_the_catalogue_holds_every_item_and_the_unknown_one():
    model, _ = make_model()
    catalogue = model.embed_catalogue()
    assert catalogue.shape == (ITEMS + 1, 5) and catalogue.dtype == np.float32
    np.testing.assert_allclose(catalogue[:-1], model.embed_items(tf.range(ITEMS, dtype=tf.int64)), atol=1e-6)
    np.testing.assert_allclose(catalogue[-1:], model.embed_items(tf.constant([-1], tf.int64)), atol=1e-6)
    assert len(np.unique(catalogue, axis=0)) == ITEMS + 1


@pytest.mark.parametrize("k", [1, 3, ITEMS])
def test_recall_counts_items_among_the_nearest(k):
    model, _ = make_model()
    rows = np.random.default_rng(1).integers(0, ITEMS, 40)
    batch = batch_of(rows)
    scores = model.embed_queries(batch).numpy() @ model.embed_catalogue()[:-1].T
    hits = np.mean([row in np.argsort(-s, kind="stable")[:k] for row, s in zip(rows, scores)])
    data = tf.data.Dataset.from_tensor_slices(batch).batch(16)
    assert recall(model, data, k) == pytest.approx(hits)


@pytest.mark.parametrize(("value", "expected"), [(0.0, 3 / ITEMS), (np.nan, 0.0)])
def test_a_model_without_an_opinion_has_no_recall(value, expected):
    """Equal scores for all items, or none that is a number, must not look like the best epoch."""
    model, _ = make_model(normalise=False)
    for weight in model.candidate_tower.trainable_weights:
        weight.assign(tf.fill(weight.shape, tf.constant(value, tf.float32)))
    data = tf.data.Dataset.from_tensor_slices(batch_of(np.arange(ITEMS))).batch(5)
    assert recall(model, data, 3) == pytest.approx(expected)


def test_a_model_comes_back_from_its_files(tmp_path):
    model, config = make_model(seed=4)
    history = [{"loss": 1.0, "monitor": 0.5, "seconds": 2.0}]
    saving.save(str(tmp_path / "model"), model, config, history)
    read = saving.read_config(str(tmp_path / "model"), RetrievalConfig)
    assert read == config and saving.read_history(str(tmp_path / "model")) == history
    other = build(SCHEMA, read, make_table(seed=9))
    saving.restore(str(tmp_path / "model"), other)
    batch = batch_of([1, 2, 3])
    np.testing.assert_array_equal(other.embed_queries(batch), model.embed_queries(batch))
    np.testing.assert_array_equal(other.embed_catalogue(), model.embed_catalogue())


def test_weights_of_another_shape_are_refused(tmp_path):
    model, config = make_model()
    saving.save(str(tmp_path), model, config, [])
    deeper = config.model_copy(update={"query": config.query.model_copy(update={"hidden_layers": (6, 6)})})
    with pytest.raises((AssertionError, ValueError)):
        saving.restore(str(tmp_path), build(SCHEMA, deeper, make_table()))
