"""Drawn, remembered and mined negatives: what is expected of them, and that the losses get it."""

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from crossrec.components.features.schema import ITEM_ROW
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.loss import Comparison, softmax_loss
from crossrec.components.retrieval_trainer.negatives import (
    Candidates,
    DrawnConfig,
    Memory,
    Negatives,
    is_easy,
    is_target,
    sampling_probabilities,
)
from crossrec.components.retrieval_trainer.requests import TARGETS
from crossrec.components.retrieval_trainer.train import build
from tests.unit.components.small_models import ITEMS, make_query, make_schema, make_table, randomise

TOWERS = {
    "query": {"features": ["user", "likes"], "hidden_layers": []},
    "item": {"features": ["item_id", "tags"], "hidden_layers": []},
    "label": "clicked",
}
FREQUENCIES = np.array([1, 2, 3, 50, 5, 60, 7, 8, 9, 100, 11, 12])
SHARES = sampling_probabilities(FREQUENCIES).astype(np.float64)


def make_model(seed=3, **loss):
    loss = {"temperature": 1.0, **loss}
    config = RetrievalConfig(**TOWERS, normalise=False, embedding_dimension=4, dimension=4, loss=loss)
    model = build(make_schema(), config, make_table(frequencies=FREQUENCIES))
    randomise(model, seed)
    return model


def batch_of(rows, seed=0):
    return {**make_query(len(rows), seed), ITEM_ROW: tf.constant(rows, tf.int64)[:, None]}


def embed(rows):
    return tf.cast(rows, tf.float32)[:, None] * tf.ones([1, 2])


@tf.function(autograph=False)
def losses_of_rounds(own, others, masked, counts):
    """The loss of one positive in each of many rounds, whose candidates are `[rounds, C]`."""

    def loss_of(parts):
        others, masked, counts = parts
        return softmax_loss(Comparison(tf.fill([1], own), others[None], masked[None], counts, None, ITEMS))

    parts = (tf.cast(others, tf.float32), masked, tf.cast(counts, tf.float32))
    return tf.map_fn(loss_of, parts, fn_output_signature=tf.float32)


def test_each_item_is_drawn_as_often_as_is_expected():
    negatives = Negatives(DrawnConfig(uniform=30, popular=50), False, SHARES.astype(np.float32), 2)
    tf.random.set_seed(1)
    draw = tf.function(lambda: negatives.draw(None, embed, 2).rows, autograph=False)
    rounds = 400
    drawn = np.concatenate([draw().numpy() for _ in range(rounds)])
    expected = 30 / ITEMS + 50 * SHARES
    found = negatives.expected_counts(tf.range(ITEMS, dtype=tf.int64), tf.constant(8.0)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    deviations = (np.bincount(drawn, minlength=ITEMS) - rounds * expected) / np.sqrt(rounds * expected)
    assert np.abs(deviations).max() < 4.5


def test_expected_counts_of_batch_and_memory_are_their_sizes_times_the_shares():
    negatives = Negatives(DrawnConfig(uniform=6, memory=10), True, SHARES.astype(np.float32), 2)
    negatives.remember(Candidates(tf.constant([3, 9, 9], tf.int64), tf.zeros([3, 2])))
    found = negatives.expected_counts(tf.constant([9, -1, 0], tf.int64), tf.constant(8.0)).numpy()
    np.testing.assert_allclose(found, [11 * SHARES[9] + 6 / ITEMS, 1.0, 11 * SHARES[0] + 6 / ITEMS], rtol=1e-5)


@pytest.mark.parametrize(("uniform", "popular"), [(6, 0), (0, 6), (3, 3)])
def test_the_sum_over_draws_is_in_expectation_that_over_the_catalogue(uniform, popular):
    """Without bias at any number of draws; with a wrong sign, or none, it is another sum."""
    scores = np.random.default_rng(0).normal(scale=1.5, size=ITEMS)
    own, rounds = 4, 2000
    negatives = Negatives(DrawnConfig(uniform=uniform, popular=popular), False, SHARES.astype(np.float32), 2)
    tf.random.set_seed(5)
    draw = tf.function(lambda: negatives.draw(None, embed, 2).rows, autograph=False)
    rows = np.stack([draw().numpy() for _ in range(rounds)])
    counts = negatives.expected_counts(tf.constant(rows.reshape(-1)), tf.constant(0.0)).numpy().reshape(rows.shape)
    exact = np.exp(scores).sum()
    signs = {}
    for name, used in (("right", counts), ("wrong", 1 / counts), ("none", np.ones_like(counts))):
        compared = (scores[rows], rows == own, used)
        losses = losses_of_rounds(np.float32(scores[own]), *(tf.constant(part) for part in compared)).numpy()
        # The loss is log(sum) - own, so this is the sum that it takes for that over the catalogue.
        sums = np.exp(losses + scores[own])
        signs[name] = abs(np.mean(sums) - exact) / (np.std(sums) / np.sqrt(rounds))
        if name == "right":
            assert np.std(sums) / np.sqrt(rounds) < 0.05 * exact, "too few rounds to tell"
    assert signs["right"] < 4
    assert signs["wrong"] > 8 and signs["none"] > 8


@pytest.mark.parametrize(
    "loss",
    [
        {"negatives": "sampled", "drawn": {"uniform": 30_000}},
        {"negatives": "sampled", "drawn": {"popular": 30_000}},
        {"negatives": "in_batch", "drawn": {"uniform": 15_000, "popular": 15_000}},
        {"negatives": "sampled", "drawn": {"hard": {"pool": 30_000, "kept": 30_000}}},
    ],
)
def test_with_many_draws_the_gradient_is_that_of_the_whole_softmax(loss):
    rows = [0, 3, 9, 5, 9]
    gradients = []
    for options in (loss, {"negatives": "catalogue"}, {**loss, "logq_correction": False}):
        tf.random.set_seed(2)
        model = make_model(**options)
        with tf.GradientTape() as tape:
            value = model.compute_loss(batch_of(rows))
        found = tape.gradient(value, model.trainable_variables)
        gradients.append(np.concatenate([tf.convert_to_tensor(part).numpy().reshape(-1) for part in found]))
    sampled, exact, uncorrected = gradients
    size = np.linalg.norm(exact)
    assert size > 0.1
    assert np.linalg.norm(sampled - exact) < 0.06 * size
    if "popular" in loss["drawn"]:
        assert np.linalg.norm(uncorrected - exact) > 2 * np.linalg.norm(sampled - exact)


def test_the_memory_keeps_the_last_items_in_a_ring():
    memory = Memory(4, 2)
    assert (memory.candidates().rows.numpy() == -1).all() and float(memory.filled) == 0
    put = tf.function(lambda rows: memory.put(Candidates(rows, embed(rows))), autograph=False, reduce_retracing=True)
    for rows, expected in (
        ([1, 2, 3], [1, 2, 3, -1]),
        ([4, 5], [5, 2, 3, 4]),
        ([], [5, 2, 3, 4]),
        ([6, 7, 8, 9, 10, 11], [11, 8, 9, 10]),
    ):
        put(tf.constant(rows, tf.int64))
        found = memory.candidates()
        assert found.rows.numpy().tolist() == expected
        known = found.rows >= 0
        np.testing.assert_array_equal(tf.boolean_mask(found.embeddings, known), embed(found.rows[known]))
    assert float(memory.filled) == 4


def test_a_remembered_item_is_a_negative_with_the_embedding_that_it_had():
    model = make_model(drawn={"memory": 5})
    first, second = batch_of([2, 9, 3], seed=1), batch_of([9, 4], seed=2)
    old = model.embed_items(tf.constant([2, 9, 3], tf.int64)).numpy().astype(float)
    model.compute_loss(first, training=True)
    randomise(model, 8)
    for _ in range(2):  # what is measured is not remembered
        value = float(model.compute_loss(second))
    rows = np.array([9, 4, 2, 9, 3])
    items = np.concatenate([model.embed_items(second[ITEM_ROW][:, 0]).numpy(), old])
    scores = model.embed_queries(second).numpy().astype(float) @ items.T
    own = scores[[0, 1], [0, 1]]
    scores -= np.log(5 * SHARES[rows])
    scores[[0, 1], [0, 1]] = own
    # The remembered 9 is no negative of the row whose item it is.
    scores[0, 3] = -np.inf
    expected = np.mean(np.log(np.exp(scores).sum(1)) - own)
    assert value == pytest.approx(expected, rel=1e-4)
    with tf.GradientTape() as tape:
        value = model.compute_loss(second)
    gradient = tape.gradient(value, model.trainable_variables)
    assert all(part is not None for part in gradient)


def test_hard_negatives_are_the_highest_of_the_pool_without_the_targets():
    easy = is_easy(tf.constant([[3.0, 1.0, 2.0, 5.0], [0.0, 9.0, 8.0, 7.0]]), 2).numpy()
    assert easy.tolist() == [[False, True, True, False], [True, False, False, True]]
    rows = np.array([5, 2, 5, 0, 11])
    targets = np.array([[2, -1, -1], [5, 0, 7], [-1, -1, -1], [11, 11, 3]])
    found = is_target(tf.constant(rows), tf.constant(targets), ITEMS).numpy()
    np.testing.assert_array_equal(found, (rows[None, :, None] == targets[:, None, :]).any(-1))


def test_only_what_the_model_scores_highest_is_compared():
    """Of a pool that holds every item for certain, the loss is a softmax over the targets and the hardest others."""
    pool, kept = 3000, 900
    model = make_model(
        negatives="sampled", drawn={"hard": {"pool": pool, "kept": kept}}, logq_correction=False, temperature=1.0
    )
    tf.random.set_seed(4)
    query = make_query(2, 5)
    targets = np.array([[1, 3], [7, -1]])
    value = float(model.compute_loss({**query, TARGETS: tf.constant(targets)}))
    tf.random.set_seed(4)
    drawn = tf.random.uniform([pool], 0, ITEMS, tf.int64).numpy()
    scores = model.embed_queries(query).numpy().astype(float) @ model.embed_catalogue()[:-1].T
    losses = []
    for row, wanted in enumerate(targets):
        of_pool = np.where(np.isin(drawn, wanted), -np.inf, scores[row, drawn])
        lowest = np.sort(of_pool)[-kept]
        # The copies of one item have one score, so all or none of them are kept.
        hard = of_pool[of_pool >= lowest]
        losses += [
            np.log(np.exp(scores[row, own]) + np.exp(hard).sum()) - scores[row, own] for own in wanted if own >= 0
        ]
    assert value == pytest.approx(np.mean(losses), rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        ({"negatives": "catalogue", "drawn": {"uniform": 5}}, "drawn"),
        ({"negatives": "sampled"}, "uniform"),
        ({"drawn": {"hard": {"pool": 5, "kept": 6}}}, "kept 6"),
        ({"contrastive": {}, "label_smoothing": 0.1}, "label_smoothing"),
    ],
)
def test_what_cannot_be_drawn_is_refused(loss, named):
    with pytest.raises(ValidationError, match=named):
        RetrievalConfig(**TOWERS, loss=loss)
