"""The losses that interactions have of their own, inside the ranking model."""

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.schema import ITEM_ROW, POSITION, WEIGHT, label_key
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.ranking_trainer.train import build
from tests.unit.components.small_models import make_examples, make_schema, make_table, randomise

SCHEMA = make_schema()
PLAIN = {"dropout": 0.0, "batch_normalisation": False}
SIMPLE, COMPLEX = {"layers": [2], **PLAIN}, {"layers": [3], **PLAIN}


def make_model(interactions):
    config = RankingConfig.model_validate(
        {
            "features": ["user", "likes", "limit", "item_id", "price"],
            "tasks": [{"name": "click", "label": "clicked"}, {"name": "buy", "label": "bought", "weight": 2.0}],
            "embedding_dimension": 4,
            "interactions": interactions,
        }
    )
    model = build(SCHEMA, config, make_table())
    randomise(model)
    return model


def twins(weight):
    return {"type": "tf4ctr", "simple": SIMPLE, "complex": COMPLEX, "twin_focus": weight}


def final(weight):
    return {"type": "final_net", "blocks": [SIMPLE, COMPLEX], "distillation": weight}


def losses(interactions, batch):
    """The loss as training has it, and as validation has it."""
    model = make_model(interactions)
    return float(model.compute_loss(batch, training=True)), float(model.compute_loss(batch, training=False))


@pytest.mark.parametrize("interaction", [twins, final])
@pytest.mark.parametrize("beside", [[], [{"type": "mlp", "deep": {"layers": [3]}}]])
def test_an_own_loss_counts_in_training_only_and_by_its_weight(interaction, beside):
    batch = make_examples(20)
    none, once, twice = (losses([*beside, interaction(weight)], batch) for weight in (0.0, 1.0, 2.0))
    assert none[0] == pytest.approx(none[1], rel=1e-5)
    assert once[1] == twice[1] == none[1]
    assert once[0] - none[0] > 1e-3
    assert twice[0] - none[0] == pytest.approx(2 * (once[0] - none[0]), rel=1e-4)


def test_the_own_loss_is_that_of_each_stream_alone_in_the_place_of_both():
    model = make_model([twins(1.0)])
    # The last layers of both streams give their biases, whatever the example.
    kernels = [
        weight for weight in model.trainable_weights if "tf4ctr" in weight.name or "interaction_0" in weight.name
    ]
    simple, complex_ = np.array([0.5, 1.5], np.float32), np.array([2.0, 0.25, 1.0], np.float32)
    for weight in kernels:
        if weight.shape.rank == 2:
            weight.assign(tf.zeros_like(weight))
        else:
            weight.assign(simple if weight.shape[0] == 2 else complex_)
    batch = make_examples(30)
    kernel, bias = (weight.numpy() for weight in model._heads.trainable_weights)
    whole = model.logits(batch, batch[ITEM_ROW], batch[POSITION])[:, 0].numpy()
    rest = whole - (np.concatenate([simple, complex_]) @ kernel + bias)
    alone = [rest + 2 * simple @ kernel[:2] + bias, rest + 2 * complex_ @ kernel[2:] + bias]
    labels = np.concatenate([batch[label_key("clicked")], batch[label_key("bought")]], 1)

    def truth(logits):
        probability = 1 / (1 + np.exp(-logits))
        return np.where(labels > 0, probability, 1 - probability)

    easy = 0.25 * (0.9 + truth(alone[0])) ** 2 * -np.log(truth(alone[0]))
    hard = 0.75 * (1.1 - truth(alone[1])) ** 2 * -np.log(truth(alone[1]))
    expected = (batch[WEIGHT].numpy() * [1.0, 2.0] * (easy + hard)).sum() / len(labels)
    found = float(model.compute_loss(batch, training=True)) - float(model.compute_loss(batch, training=False))
    assert found == pytest.approx(expected, rel=1e-3)
