"""Label smoothing and the cosine contrastive loss beside the same in numpy."""

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from crossrec.components.features.schema import ITEM_ROW
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.loss import Comparison, CosineContrastiveConfig, contrastive_loss
from crossrec.components.retrieval_trainer.negatives import sampling_probabilities
from crossrec.components.retrieval_trainer.requests import TARGETS
from crossrec.components.retrieval_trainer.train import build
from tests.unit.components.small_models import ITEMS, make_query, make_schema, make_table, randomise

TOWERS = {"query": {"features": ["user", "likes"]}, "item": {"features": ["item_id"]}, "label": "clicked"}
TARGETS_OF_THREE = np.array([[3, 4, -1], [2, -1, -1], [9, 0, 5]])


def make_model(table=None, **options):
    config = RetrievalConfig(**TOWERS, embedding_dimension=4, dimension=4, **options)
    model = build(make_schema(), config, table or make_table())
    randomise(model, 6)
    return model


def cosines(model, query):
    return model.embed_queries(query).numpy().astype(float) @ model.embed_catalogue()[:-1].T


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_smoothing_of_the_catalogue_spreads_a_share_of_each_target(smoothing):
    model = make_model(loss={"negatives": "catalogue", "temperature": 0.5, "label_smoothing": smoothing})
    query = make_query(3)
    scores = cosines(model, query) / 0.5
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    rows, places = np.nonzero(TARGETS_OF_THREE >= 0)
    wanted = np.full([len(rows), ITEMS], smoothing / ITEMS)
    wanted[np.arange(len(rows)), TARGETS_OF_THREE[rows, places]] += 1 - smoothing
    expected = -(wanted * logs[rows]).sum(1).mean()
    found = model.compute_loss({**query, TARGETS: tf.constant(TARGETS_OF_THREE)})
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_smoothing_within_the_batch_leaves_copies_out():
    table = make_table()
    model = make_model(table, loss={"temperature": 0.5, "label_smoothing": 0.3})
    rows = np.array([4, 7, 4, 1])
    query = make_query(4, seed=2)
    scores = cosines(model, query)[:, rows] / 0.5 - np.log(sampling_probabilities(table.frequencies)[rows])
    losses = []
    for place in range(4):
        compared = [other for other in range(4) if other == place or rows[other] != rows[place]]
        logs = scores[place] - np.log(np.exp(scores[place, compared]).sum())
        losses.append(-0.7 * logs[place] - 0.3 * logs[compared].mean())
    found = model.compute_loss({**query, ITEM_ROW: tf.constant(rows)[:, None]})
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_contrastive_loss_over_the_catalogue():
    contrastive = {"margin": 0.1, "negative_weight": 20}
    model = make_model(loss={"negatives": "catalogue", "contrastive": contrastive})
    query = make_query(3, seed=1)
    scores = cosines(model, query)
    losses = []
    for row, targets in enumerate(TARGETS_OF_THREE):
        wanted = targets[targets >= 0]
        others = np.delete(scores[row], wanted)
        losses += [1 - scores[row, own] + 20 * np.maximum(others - 0.1, 0).mean() for own in wanted]
    found = float(model.compute_loss({**query, TARGETS: tf.constant(TARGETS_OF_THREE)}))
    assert found == pytest.approx(np.mean(losses), rel=1e-4)
    assert np.mean(losses) > 1.5, "no negative is beyond the margin"


@pytest.mark.parametrize("corrected", [True, False])
def test_the_contrastive_loss_over_draws_is_in_expectation_that_over_the_catalogue(corrected):
    """The mean of popular draws is that of the catalogue only where each counts for those it stands for."""
    rng = np.random.default_rng(0)
    scores, shares = np.sort(rng.uniform(-1, 1, ITEMS)), rng.dirichlet(np.ones(ITEMS) * 5)
    shares.sort()
    config, draws, rounds = CosineContrastiveConfig(margin=0.2, negative_weight=1.0), 5, 4000
    rows = rng.choice(ITEMS, [rounds, draws], p=shares)

    def loss_of(parts):
        others, counts = parts
        compared = Comparison(
            own=tf.ones([1]),
            others=others[None],
            masked=tf.zeros([1, draws], tf.bool),
            counts=counts if corrected else None,
            own_counts=None,
            items=ITEMS,
        )
        return contrastive_loss(compared, config)

    parts = (tf.constant(scores[rows], tf.float32), tf.constant(draws * shares[rows], tf.float32))
    values = tf.function(lambda: tf.map_fn(loss_of, parts, fn_output_signature=tf.float32), autograph=False)().numpy()
    exact = np.maximum(scores - 0.2, 0).mean()
    deviation = abs(np.mean(values) - exact) / (np.std(values) / np.sqrt(rounds))
    assert deviation < 4 if corrected else deviation > 10


def test_cosines_need_unit_vectors_and_nothing_added():
    with pytest.raises(ValidationError, match="normalise is false"):
        RetrievalConfig(**TOWERS, normalise=False, loss={"contrastive": {}})
    with pytest.raises(ValidationError, match="popularity"):
        RetrievalConfig(**TOWERS, popularity={}, loss={"contrastive": {}})
