"""A ranking model on crosses of every kind: what it sees in training and what in serving."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.crosses import HashedCross, StatisticsCross, VocabularyCross
from crossrec.components.features.crosses.fitting import fit_crosses
from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP, USER, add_crosses, label_key
from crossrec.components.modeling.crosses import Crosses
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.ranking_trainer.model import RankingModel
from tests.unit.components.small_models import ITEMS, make_examples, make_schema, make_table, randomise

ROWS = 60
CROSSES = (
    HashedCross(inputs=("likes", "tags"), buckets=30, pairs="any"),
    VocabularyCross(inputs=("user", "item_id"), min_count=2),
    StatisticsCross(inputs=("recent_items", "item_id"), parts=4),
    StatisticsCross(inputs=("item_id",), parts=4, label="bought"),
    StatisticsCross(inputs=("user",), parts=4),
)
CONFIG = RankingConfig.model_validate(
    {
        "features": ["user", "item_id", "price"],
        "tasks": [{"name": "click", "label": "clicked"}],
        "embedding_dimension": 4,
        "dropout": 0.0,
    }
)


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(0)
    times = {TIMESTAMP: tf.constant(rng.integers(10**9, 2 * 10**9, (ROWS, 1)))}
    return {**make_examples(ROWS), **times, USER: tf.constant(rng.integers(0, 2**62, (ROWS, 1)))}


def fitted(examples):
    rows = {name: values.numpy() for name, values in examples.items()}
    schema = add_crosses(make_schema().model_copy(update={"crosses": ()}), CROSSES)
    return fit_crosses(schema, make_table().features, lambda: [rows], "clicked")


def make_model(schema):
    model = RankingModel(schema, CONFIG, make_table())
    query = make_examples(2)
    model.logits(query, tf.zeros([2, 3], tf.int64))
    randomise(model)
    return model


def test_a_row_of_training_does_not_see_its_label_and_a_request_sees_all(examples):
    label = label_key("clicked")
    row = 7
    flipped = {
        **examples,
        label: tf.tensor_scatter_nd_update(examples[label], [[row, 0]], [1 - examples[label][row, 0]]),
    }
    models = [make_model(fitted(data)) for data in (examples, flipped)]
    one = {name: values[row : row + 1] for name, values in examples.items()}
    training = [model._logits(one, one[ITEM_ROW], True)[0].numpy() for model in models]
    np.testing.assert_array_equal(*training)
    serving = [model.logits(one, one[ITEM_ROW]).numpy() for model in models]
    assert (serving[0] != serving[1]).any()


def test_the_loss_is_that_of_the_statistics_of_each_row(examples):
    schema = fitted(examples)
    model = make_model(schema)
    items = {name: values[examples[ITEM_ROW][:, 0].numpy()] for name, values in make_table().features.items()}
    batch = {**examples, **{name: tf.constant(values) for name, values in items.items()}}
    names = [cross.name for cross in CROSSES]
    seen = Crosses(schema, names)(batch, row={key: examples[key] for key in (TIMESTAMP, USER)})
    whole = Crosses(schema, names)(batch)
    assert any((seen[name].numpy() != whole[name].numpy()).any() for name in names)
    # A batch and each of its rows by itself have one loss.
    together = model.compute_loss(examples, training=True)
    alone = [
        model.compute_loss({name: values[row : row + 1] for name, values in examples.items()}, training=True)
        for row in range(ROWS)
    ]
    np.testing.assert_allclose(together, np.mean(alone), rtol=1e-4)


def test_candidates_are_scored_alike_alone_and_together(examples):
    model = make_model(fitted(examples))
    query = {name: values[:5] for name, values in examples.items()}
    rows = tf.constant(np.random.default_rng(1).integers(-1, ITEMS, (5, 7)))
    together = model.logits(query, rows)
    alone = tf.concat([model.logits(query, rows[:, place : place + 1]) for place in range(7)], 1)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
