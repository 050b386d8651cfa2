r"""Factorisation machine: every pair of fields meets in a dot product.

Rendle: "Factorization Machines", ICDM 2010.
"""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.interaction import Interaction
from crossrec.components.modeling.interactions.pairs import pair_count


class FMConfig(Frozen):
    """A factorisation machine of second order; it has nothing to set.

    Attributes:
        type: Names this interaction in the spec.
    """

    type: Literal["fm"] = "fm"


def second_order(fields: tf.Tensor) -> tf.Tensor:
    r"""The sum over all pairs of fields of their dot products, in O(F d).

    :math:`\sum_{i<j} \langle v_i, v_j \rangle = \frac{1}{2} \sum_k ((\sum_i v_{ik})^2 - \sum_i v_{ik}^2)`

    Args:
        fields: :math:`v`, ``[N, F, d]``.

    Returns:
        ``[N, 1]``, of the fields' type.
    """
    # The difference of two sums of squares has few digits left in float16.
    values = tf.cast(fields, tf.float32)
    twice = tf.square(tf.reduce_sum(values, 1)) - tf.reduce_sum(tf.square(values), 1)
    return tf.cast(0.5 * tf.reduce_sum(twice, -1, keepdims=True), fields.dtype)


class FM(Interaction):
    """The pairs' part of a factorisation machine, see ``second_order``; it has no weights of its own.

    Its linear part is the linear weight that the ranking model gives to every feature.

    Shapes: ``[N, F, d]`` to ``[N, 1]``.
    """

    CONFIG = FMConfig

    def build(self, shape: tf.TensorShape) -> None:
        """Checks that there is a pair.

        Raises:
            DataError: There is but one field.
        """
        pair_count(shape[1], "fm")

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to the sum of their dot products."""
        return second_order(fields)
