"""A student that agrees with its teacher."""

import numpy as np
import pytest

from crossrec.components.text.config import EncoderTrainingConfig
from crossrec.components.text.projection import unit
from crossrec.components.text.small import SmallNetwork
from crossrec.components.text_encoder.batches import Embedder, Tokens
from crossrec.components.text_encoder.distil import agreement, distil, teacher_targets
from tests.unit.components.text_encoder.market import TITLES, use
from tests.unit.components.text_encoder.test_train import PAIRS, PIECES, make_network

TEXTS = sorted({*TITLES, *(query for query, _ in PAIRS)})


def make_teacher(width):
    encoder = use().encoder
    return SmallNetwork(
        PIECES, encoder.model_copy(update={"small": encoder.small.model_copy(update={"width": width})}), 7
    )


def test_agreement_is_the_rank_correlation_of_cosines():
    vectors = unit(np.array([[1, 0], [1, 1], [0, 1], [-1, 0.5]], np.float32))
    turned = vectors @ np.array([[0, 1], [-1, 0]], np.float32)
    assert agreement(vectors, turned) == pytest.approx(1)
    # Cosines 0.9, 0.5, 0.1 against 0.1, 0.5, 0.9 in the same order.
    one = np.linalg.cholesky([[1, 0.9, 0.5], [0.9, 1, 0.1], [0.5, 0.1, 1]])
    other = np.linalg.cholesky([[1, 0.1, 0.5], [0.1, 1, 0.9], [0.5, 0.9, 1]])
    assert agreement(one, other) == pytest.approx(-1)


@pytest.mark.parametrize("width", [8, 16])
def test_a_teacher_that_is_not_wider_is_taken_as_it_is(width):
    teacher = make_teacher(width)
    targets = teacher_targets(teacher, TEXTS, 16)
    vectors = unit(Embedder(teacher)(Tokens.of(teacher, TEXTS)))
    assert targets.shape == (len(TEXTS), 16)
    np.testing.assert_allclose(targets @ targets.T, vectors @ vectors.T, atol=1e-5)


def test_of_a_wider_teacher_the_principal_components_are_learnt():
    teacher = make_teacher(32)
    vectors = unit(Embedder(teacher)(Tokens.of(teacher, TEXTS)))
    centred = vectors - vectors.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    wanted = unit(centred @ axes[:16].T)
    targets = teacher_targets(teacher, TEXTS, 16)
    np.testing.assert_allclose(targets @ targets.T, wanted @ wanted.T, atol=1e-3)


def test_the_student_comes_to_agree_on_texts_that_it_has_not_seen():
    student = make_network(seed=3)
    targets = teacher_targets(make_teacher(32), TEXTS, 16)
    figures = distil(student, TEXTS, targets, EncoderTrainingConfig(batch_size=16, epochs=1))
    assert figures["texts"] < len(TEXTS)
    assert figures["cosine"] > 0.9 > 0.3 > figures["cosine_before"]
    assert figures["agreement"] > 0.9 > 0.7 > figures["agreement_before"]
    vectors = unit(Embedder(student)(Tokens.of(student, TEXTS)))
    assert float((vectors * targets).sum(1).mean()) > 0.9
