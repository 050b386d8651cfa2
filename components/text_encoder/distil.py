r"""Distillation: a small encoder learns to agree with a large one on the project's own texts.

For a text :math:`i` of a batch with the student's unit vector :math:`s_i` and the teacher's :math:`t_i` the loss is
the mean of :math:`1 - s_i \cdot t_i` (Reimers, Gurevych: "Making Monolingual Sentence Embeddings Multilingual Using
Knowledge Distillation", EMNLP 2020, regress the vectors likewise) and of
:math:`(s_i \cdot s_j - t_i \cdot t_j)^2` over the batch (Tung, Mori: "Similarity-Preserving Knowledge Distillation",
ICCV 2019).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras
from scipy import stats

from crossrec.components.text.config import EncoderTrainingConfig
from crossrec.components.text.network import EncoderNetwork
from crossrec.components.text.projection import fit_projection, unit
from crossrec.components.text_encoder.batches import Embedder, Tokens
from crossrec.components.text_encoder.train import optimise

Floats = npt.NDArray[np.float32]
_HELD_OUT = 10
_MOST_COMPARED = 1_000
# Squares of differences of cosines are small beside 1 - cosine.
_SIMILARITY_WEIGHT = 10.0
# To regress takes more steps than to tell apart, and few texts make few steps an epoch.
_FEWEST_STEPS = 1_000


def teacher_targets(teacher: EncoderNetwork, texts: list[str], width: int) -> Floats:
    """The teacher's unit vectors of texts in as many numbers as the student has.

    Args:
        teacher: The large encoder.
        texts: What the student learns from.
        width: The student's; a wider teacher is reduced by principal components, a narrower one is given zeros.

    Returns:
        float32 ``[N, width]``, of length 1.
    """
    vectors = unit(Embedder(teacher)(Tokens.of(teacher, texts)))
    if vectors.shape[1] > width:
        projection = fit_projection(vectors, width)
        assert projection is not None
        return unit((vectors - projection.mean) @ projection.matrix)
    return np.pad(vectors, ((0, 0), (0, width - vectors.shape[1])))


def distil(
    student: EncoderNetwork, texts: list[str], targets: Floats, config: EncoderTrainingConfig
) -> dict[str, float]:
    """Trains the student; it ends with its best weights.

    Args:
        student: The small encoder.
        texts: Different texts.
        targets: The teacher's unit vectors of them, as from ``teacher_targets``.
        config: How to train; the temperature and the kind of weights have no part, and epochs are added until
            there are a thousand steps.

    Returns:
        Figures: ``texts``, ``epochs``, and of a tenth of the texts that was held out the rank correlation of the
        texts' cosines with the teacher's (``agreement``, Spearman) and the mean cosine of the two vectors of a text
        (``cosine``), ``before`` and after.
    """
    tf_keras.utils.set_random_seed(config.seed)
    tokens = Tokens.of(student, texts)
    held = np.array([zlib.crc32(text.encode("utf-8")) % _HELD_OUT == 0 for text in texts])
    if held.sum() < 3 or held.all():
        held = np.zeros(len(texts), bool)
    compared = np.flatnonzero(held)[:_MOST_COMPARED]
    learnt = np.flatnonzero(~held)
    size = min(config.batch_size, len(learnt))
    steps = len(learnt) // size
    config = config.model_copy(update={"epochs": max(config.epochs, -(-_FEWEST_STEPS // steps))})
    embed = Embedder(student)

    def batches(epoch: int) -> Iterator[tuple[Any, ...]]:
        order = np.random.default_rng([config.seed, epoch]).permutation(learnt)
        for start in range(0, steps * size, size):
            rows = order[start : start + size]
            yield (*tokens.take(rows), targets[rows])

    def loss(ids: tf.Tensor, mask: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        vectors = tf.math.l2_normalize(student(ids, mask, training=True), 1)
        apart = 1.0 - tf.reduce_mean(tf.reduce_sum(vectors * wanted, 1))
        similar = tf.matmul(vectors, vectors, transpose_b=True) - tf.matmul(wanted, wanted, transpose_b=True)
        return apart + _SIMILARITY_WEIGHT * tf.reduce_mean(tf.square(similar))

    def evaluate() -> dict[str, float]:
        if not len(compared):
            return {}
        vectors = unit(embed(tokens, compared))
        return {
            "agreement": agreement(vectors, targets[compared]),
            "cosine": float((vectors * targets[compared]).sum(1).mean()),
        }

    return {"texts": float(len(learnt)), **optimise(student, batches, steps, loss, config, evaluate)}


def agreement(vectors: Floats, others: Floats) -> float:
    """Spearman's correlation of the cosines of all pairs of texts under two encoders.

    Args:
        vectors: Unit vectors ``[N, D]`` of the one.
        others: Unit vectors ``[N, E]`` of the other.
    """
    above = np.triu_indices(len(vectors), 1)
    return float(stats.spearmanr((vectors @ vectors.T)[above], (others @ others.T)[above]).statistic)
