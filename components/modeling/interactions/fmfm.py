r"""Field-matrixed factorisation machine: a matrix between the fields of each pair.

Sun, Pan, Zhang, Flores: "FM²: Field-matrixed Factorization Machines for Recommender Systems", WWW 2021.
"""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.interaction import Interaction, flatten
from crossrec.components.modeling.interactions.pairs import pair_count, upper_triangle


class FmFMConfig(Frozen):
    """A field-matrixed factorisation machine; it has nothing to set.

    Attributes:
        type: Names this interaction in the spec.
    """

    type: Literal["fmfm"] = "fmfm"


class FmFM(Interaction):
    r""":math:`\sum_{i<j} \langle v_i M_{ij}, v_j \rangle` with a learned matrix :math:`M_{ij}` per pair of fields.

    The matrices begin as identities, that is, as a factorisation machine; r times the identity is FwFM.

    Shapes: ``[N, F, d]`` to ``[N, 1]``; M is ``[F (F - 1) / 2, d, d]``.
    """

    CONFIG = FmFMConfig

    def build(self, shape: tf.TensorShape) -> None:
        """Makes M.

        Raises:
            DataError: There is but one field.
        """
        self._pairs = self.add_weight(
            name="pairs", shape=(pair_count(shape[1], "fmfm"), shape[2], shape[2]), initializer=_identities
        )

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to the sum of their products."""
        count, size = fields.shape[1], fields.shape[2]
        # All matrices as blocks of one, zeros on and below its diagonal: one large product is quicker than many.
        blocks = tf.transpose(upper_triangle(self._pairs, count), [0, 2, 1, 3])
        values = flatten(fields)
        met = tf.matmul(values, tf.reshape(blocks, [count * size, count * size]))
        return tf.reduce_sum(met * values, -1, keepdims=True)


def _identities(shape: tuple[int, int, int], dtype: tf.DType = tf.float32) -> tf.Tensor:
    return tf.eye(shape[1], batch_shape=[shape[0]], dtype=dtype)
