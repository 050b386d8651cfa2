"""A row's fields do not depend on the rows beside it, nor on the thread that computes them."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.schema import FeatureOutput, FeatureSchema
from crossrec.components.modeling.fields import Fields

WIDTHS = {"one": 1, "four": 4, "eight": 8}
IDS = 20


@pytest.fixture
def schema():
    features = tuple(
        FeatureOutput(name=name, side="query", kind="ids", width=width, cardinality=IDS, multi_valued=width > 1)
        for name, width in WIDTHS.items()
    )
    return FeatureSchema(
        raw_query={}, raw_item={}, features=features, crosses=(), items=1, item_column="item", labels=()
    )


# Batches this large are divided among threads.
@pytest.mark.parametrize("shape", [(200,), (200, 1), (1, 200), (20, 10)])
@pytest.mark.parametrize("dimension", [1, 16])
@pytest.mark.parametrize("linear", [0, 2])
@pytest.mark.parametrize("names", [["one", "four", "eight"], ["eight"], ["one"]])
def test_every_row_is_the_mean_of_its_ids(schema, shape, dimension, linear, names):
    fields = Fields(schema, list(WIDTHS), dimension, linear)
    rng = np.random.default_rng(0)
    features = {name: rng.integers(-1, IDS, (*shape, WIDTHS[name])) for name in names}
    found, weights = fields({name: tf.constant(ids) for name, ids in features.items()}, names)
    (table,) = fields.get_weights()
    starts = dict(zip(WIDTHS, range(0, IDS * len(WIDTHS), IDS)))
    for place, (name, ids) in enumerate(features.items()):
        mask = (ids >= 0)[..., None]
        sums = (table[np.maximum(ids, 0) + starts[name]] * mask).sum(-2)
        means = sums / np.maximum(mask.sum(-2), 1)
        np.testing.assert_allclose(found.numpy()[..., place, :], means[..., :dimension], atol=1e-6)
    assert weights.shape == (*shape, linear)
