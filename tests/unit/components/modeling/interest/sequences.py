"""What the tests of sequence interest share."""

import numpy as np
import tensorflow as tf
from pydantic import TypeAdapter

from crossrec.components.modeling import interest, runtime
from tests.unit.components.small_models import randomise

runtime.prepare()

CONFIG = TypeAdapter(interest.InterestConfig)
DIN, DIN_SOFTMAX, DIN_DEEP, TARGET, LAST, LSTM, AVERAGE = EVERY = [
    {"type": "din", "hidden_layers": [5]},
    {"type": "din", "hidden_layers": [5], "softmax": True},
    {"type": "din", "hidden_layers": [5, 3]},
    {"type": "transformer", "layers": 2, "attention_heads": 2, "head_size": 3, "feed_forward": 5},
    {"type": "transformer", "attention_heads": 3, "head_size": 2, "feed_forward": 5, "readout": "last"},
    {"type": "lstm", "units": 5},
    {"type": "average"},
]


def name_of(values):
    return "-".join(str(value) for value in values.values())


def make_inputs(batch=4, candidates=3, length=5, size=4, seed=1):
    """Candidates, history and which of it is present; the last query has no history where there are several."""
    rng = np.random.default_rng(seed)
    present = rng.random((batch, length)) < 0.6
    present[0, 0] = True
    if batch > 1:
        present[-1] = False
    return (
        rng.normal(size=(batch, candidates, size)).astype(np.float32),
        rng.normal(size=(batch, length, size)).astype(np.float32),
        present,
    )


def make_layer(values, length=5, size=4, seed=0):
    layer = interest.build(CONFIG.validate_python({"sequence": "recent_items", **values}))
    layer((tf.zeros([1, 1, size]), tf.zeros([1, length, size]), tf.ones([1, length], tf.bool)))
    randomise(layer, seed)
    return layer


def run(layer, inputs, training=None):
    candidates, history, present = inputs
    return layer((tf.constant(candidates), tf.constant(history), tf.constant(present)), training=training).numpy()
