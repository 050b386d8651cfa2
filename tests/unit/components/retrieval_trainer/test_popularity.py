import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.errors import DataError
from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP
from crossrec.components.modeling import saving
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.popularity import Popularity, PopularityConfig, log_shares
from crossrec.components.retrieval_trainer.train import build
from tests.unit.components.small_models import ITEMS, make_query, make_schema, make_table, randomise

DAY = 86_400


def shares_at(moment, moments, rows, items, half_life_days, smoothing):
    """The definition, row by row."""
    counts = np.full(items + 1, float(smoothing))
    for time, row in zip(moments, rows):
        if time < moment and row >= 0:
            counts[row] += 0.5 ** ((moment - time) / (half_life_days * DAY))
    return np.log(counts / counts.sum())


def test_shares_are_those_of_decayed_counts_of_earlier_interactions():
    rng = np.random.default_rng(0)
    moments, rows = np.sort(rng.integers(1000, 1000 + 90 * DAY, 300)), rng.integers(-1, 5, 300)
    config = PopularityConfig(half_life_days=10, smoothing=0.5)
    at, found = log_shares(moments, rows, 5, config)
    assert len(at) > 50 and (np.diff(at) > 0).all() and found.dtype == np.float32
    for state in (0, 1, len(at) // 2, len(at) - 1):
        expected = shares_at(at[state], moments, rows, 5, 10, 0.5)
        np.testing.assert_allclose(found[state], expected, rtol=1e-5)
    np.testing.assert_allclose(found[0], -np.log(6), rtol=1e-6)
    assert at[-1] == moments[rows >= 0].max() + 1, "the last state has seen everything"


def test_an_item_counts_half_after_its_half_life():
    moments = np.array([0, 7 * DAY, 14 * DAY])
    _, found = log_shares(moments, np.array([0, 1, 2]), 3, PopularityConfig(half_life_days=7, smoothing=1e-6))
    np.testing.assert_allclose(np.exp(found[-1, :3]), np.array([1, 2, 4]) / 7, rtol=1e-4)


@pytest.mark.parametrize("moments", [[], [5, 5, 5]])
def test_data_without_time_has_no_recent_popularity(moments):
    with pytest.raises(DataError, match="retrieval.popularity"):
        log_shares(np.array(moments, np.int64), np.zeros(len(moments), np.int64), 3, PopularityConfig())


def test_a_row_sees_the_last_state_before_it():
    layer = Popularity(3)
    layer.set_history(np.array([10, 20, 30]), np.log([[3, 3, 4], [2, 3, 5], [1, 3, 6]]).astype(np.float32))
    layer.trainable_weights[0].assign(2.0)
    found = layer.of_all(tf.constant([5, 10, 19, 20, 99], tf.int64))
    states = [0, 0, 0, 1, 2]
    expected = 2 * np.log(np.array([[3, 3, 4], [2, 3, 5], [1, 3, 6]])[states])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    some = layer.of_rows(tf.constant([5, 10, 19, 20, 99], tf.int64), tf.constant([2, 0, 2], tf.int64))
    np.testing.assert_allclose(some, expected[:, [2, 0, 2]], rtol=1e-6)
    np.testing.assert_allclose(layer.now(), expected[-1], rtol=1e-6)


def make_model(negatives="catalogue", popularity=True, temperature=0.5):
    config = RetrievalConfig(
        query={"features": ["user", "recent_items"], "hidden_layers": [6]},
        item={"features": ["item_id", "price"], "hidden_layers": []},
        label="clicked",
        embedding_dimension=4,
        dimension=5,
        loss={"negatives": negatives, "temperature": temperature},
        popularity={} if popularity else None,
    )
    model = build(make_schema(), config, make_table())
    randomise(model, 3)
    if popularity:
        rng = np.random.default_rng(1)
        shares = np.log(rng.dirichlet(np.ones(ITEMS + 1), 3)).astype(np.float32)
        model.popularity.set_history(np.array([100, 200, 300]), shares)
    return model, config


def batch_of(rows, moments):
    return {
        **make_query(len(rows)),
        ITEM_ROW: tf.constant(rows, tf.int64)[:, None],
        TIMESTAMP: tf.constant(moments, tf.int64)[:, None],
    }


def numpy_scores(model, batch, states, temperature):
    """Scores over the whole catalogue, popularity as of each row, from embeddings and shares apart."""
    queries, items = model.embed_queries(batch).numpy()[:, :-1], model.embed_catalogue()[:-1, :-1]
    weight = float(model.popularity.trainable_weights[0])
    shares = model.popularity._shares.numpy()[states][:, :ITEMS]
    return queries @ items.T / temperature + weight * shares


def test_the_catalogue_loss_is_the_softmax_over_all_items_with_popularity_of_the_time():
    model, _ = make_model()
    rows, states = [0, 3, 11, 3], [0, 1, 1, 2]
    batch = batch_of(rows, [150, 200, 299, 999])
    scores = numpy_scores(model, batch, states, 0.5)
    expected = np.mean(np.log(np.exp(scores).sum(1)) - scores[np.arange(4), rows])
    assert float(model.compute_loss(batch)) == pytest.approx(expected, rel=1e-5)


def test_the_loss_in_the_batch_has_the_same_popularity():
    model, _ = make_model("in_batch")
    rows, states = np.array([0, 3, 11, 5]), [0, 1, 1, 2]
    batch = batch_of(rows, [150, 200, 299, 999])
    frequencies = make_table().frequencies
    scores = numpy_scores(model, batch, states, 0.5)[:, rows] - np.log(frequencies[rows] / frequencies.sum())
    expected = np.mean(np.log(np.exp(scores).sum(1)) - np.diag(scores))
    assert float(model.compute_loss(batch)) == pytest.approx(expected, rel=1e-4)


def test_a_served_score_is_the_temperature_times_the_latest_score_of_training():
    model, _ = make_model()
    batch = batch_of([0, 1, 2], [999] * 3)
    served = model.embed_queries(batch).numpy() @ model.embed_catalogue()[:-1].T
    np.testing.assert_allclose(served, 0.5 * numpy_scores(model, batch, [2] * 3, 0.5), rtol=1e-4, atol=1e-5)


def test_the_last_state_is_saved(tmp_path):
    model, config = make_model()
    before = model.embed_catalogue()
    model.popularity.forget_history()
    np.testing.assert_array_equal(model.embed_catalogue(), before)
    saving.save(str(tmp_path), model, config, [])
    other = build(make_schema(), config, make_table())
    saving.restore(str(tmp_path), other)
    np.testing.assert_array_equal(other.embed_catalogue(), before)
    assert other.popularity._shares.shape[0] in (1, None) and len(other.popularity._shares.numpy()) == 1
