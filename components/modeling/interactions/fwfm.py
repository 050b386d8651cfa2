r"""Field-weighted factorisation machine: a factorisation machine that learns which pairs of fields matter.

Pan, Xu, Ruiz, Zhao, Pan, Sun, Lu: "Field-weighted Factorization Machines for Click-Through Rate Prediction
in Display Advertising", WWW 2018.
"""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.interaction import Interaction
from crossrec.components.modeling.interactions.pairs import pair_count, upper_triangle


class FwFMConfig(Frozen):
    """A field-weighted factorisation machine; it has nothing to set.

    Attributes:
        type: Names this interaction in the spec.
    """

    type: Literal["fwfm"] = "fwfm"


class FwFM(Interaction):
    r""":math:`\sum_{i<j} r_{ij} \langle v_i, v_j \rangle` with a learned number :math:`r_{ij}` per pair of fields.

    The numbers begin as ones, that is, as a factorisation machine.

    Shapes: ``[N, F, d]`` to ``[N, 1]``; r is ``[F (F - 1) / 2]``.
    """

    CONFIG = FwFMConfig

    def build(self, shape: tf.TensorShape) -> None:
        """Makes r.

        Raises:
            DataError: There is but one field.
        """
        self._pairs = self.add_weight(name="pairs", shape=(pair_count(shape[1], "fwfm"),), initializer="ones")

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to the weighted sum of their dot products."""
        count, size = fields.shape[1], fields.shape[2]
        # One product of matrices over all examples and dimensions: no dot product of a pair is held in memory.
        columns = tf.reshape(tf.transpose(fields, [0, 2, 1]), [-1, count])
        met = columns * tf.matmul(columns, upper_triangle(self._pairs, count))
        return tf.reduce_sum(tf.reshape(met, [-1, size * count]), -1, keepdims=True)
