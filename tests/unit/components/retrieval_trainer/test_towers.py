import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from crossrec.components.modeling.towers import Tower, TowerConfig, TowerSizes
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from tests.unit.components.small_models import make_query, make_schema, randomise

NAMES = ["user", "likes", "recent_items", "limit"]


def make_tower(**config):
    tower = Tower(
        make_schema(),
        TowerConfig(features=NAMES, hidden_layers=(), **config),
        TowerSizes(fields=5, output=5, normalise=False, dropout=0.0),
    )
    tower(make_query(1))
    randomise(tower, 1)
    return tower


def same_weights(tower, other):
    for weight, source in zip(tower.trainable_weights, other.trainable_weights):
        weight.assign(source)
    return tower


def test_root_pooling_multiplies_each_mean_by_the_root_of_its_count():
    """With the sum of fields as output, each feature's part can be had by taking the others away."""
    query = make_query(7, seed=4)
    mean = make_tower(output="sum")
    root = same_weights(make_tower(output="sum", pooling="root"), mean)
    nothing = {**{name: tf.fill(query[name].shape, tf.constant(-1, tf.int64)) for name in NAMES[:3]}}
    nothing["limit"] = tf.zeros_like(query["limit"])
    expected = np.zeros([7, 5], np.float32)
    for name in NAMES:
        part = mean({**nothing, name: query[name]}).numpy()
        counts = (query[name].numpy() >= 0).sum(1, keepdims=True) if name != "limit" else np.ones([7, 1])
        expected += part * np.sqrt(counts)
    np.testing.assert_allclose(root(query), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(root(query) - mean(query)).max() > 0.1


def test_a_sum_has_no_weights_beside_those_of_the_fields():
    assert len(make_tower(output="dense").trainable_weights) == 2 + len(make_tower(output="sum").trainable_weights)


@pytest.mark.parametrize(("of_both", "own", "drops"), [(0.5, None, True), (0.0, 0.5, True), (0.5, 0.0, False)])
def test_a_tower_s_own_dropout_goes_before_that_of_both(of_both, own, drops):
    config = TowerConfig(features=NAMES, hidden_layers=(), output="sum", dropout=own)
    tower = Tower(make_schema(), config, TowerSizes(fields=5, output=5, normalise=False, dropout=of_both))
    query = make_query(200, seed=2)
    tower(query)
    randomise(tower, 1)
    difference = np.abs(tower(query, training=True) - tower(query)).max()
    assert difference > 0.1 if drops else difference == 0.0


def test_a_sum_is_as_large_as_its_fields_and_has_no_hidden_layers():
    with pytest.raises(ValidationError, match="hidden_layers"):
        TowerConfig(features=["user"], output="sum")
    towers = {"query": {"features": ["user"]}, "item": {"features": ["item_id"], "output": "sum", "hidden_layers": []}}
    with pytest.raises(ValidationError, match="embedding_dimension to 8"):
        RetrievalConfig(**towers, embedding_dimension=4, dimension=8)
