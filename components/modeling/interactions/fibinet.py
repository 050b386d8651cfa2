r"""FiBiNET: fields re-weighted by their importance, then crossed by bilinear products.

Huang, Zhang, Zhang: "FiBiNET: Combining Feature Importance and Bilinear feature Interaction for Click-Through
Rate Prediction", RecSys 2019.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import Field

from crossrec.components.features.frozen import Frozen
from crossrec.components.modeling.interactions.deep_network import DeepConfig, DeepNetwork
from crossrec.components.modeling.interactions.interaction import Interaction, flatten
from crossrec.components.modeling.interactions.pairs import pair_count

Sharing = Literal["field_all", "field_each", "field_interaction"]


class FiBiNETConfig(Frozen):
    """FiBiNET.

    Attributes:
        type: Names this interaction in the spec.
        bilinear: Who shares a matrix: all pairs, the pairs of one left field, or none (each pair has its own).
        reduction_ratio: Fields per unit of the squeezed layer that computes the fields' importance.
        excitation: Activation of the importance.
        deep: The deep network over both bilinear outputs.
    """

    type: Literal["fibinet"] = "fibinet"
    bilinear: Sharing = "field_interaction"
    reduction_ratio: int = Field(default=3, ge=1)
    excitation: Literal["relu", "sigmoid"] = "relu"
    deep: DeepConfig = DeepConfig(layers=(400, 400, 400))


class SqueezeExcitation(tf_keras.layers.Layer):
    r"""SENET: :math:`v_i = a_i e_i`, :math:`a = \sigma(W_2 \mathrm{ReLU}(W_1 z))`, z the means of the fields.

    Shapes: ``[N, F, d]`` to ``[N, F, d]``; W_1 is ``[F, max(1, F // reduction_ratio)]``.
    """

    def __init__(self, reduction_ratio: int, activation: str, **kwargs: Any):
        """Constructs the layer; both arguments as in FiBiNETConfig."""
        super().__init__(**kwargs)
        self._reduction_ratio, self._activation = reduction_ratio, activation

    def build(self, shape: tf.TensorShape) -> None:
        """Makes W_1 and W_2, which have no biases."""
        fields = int(shape[1])
        reduced = max(1, fields // self._reduction_ratio)
        self._squeeze = tf_keras.layers.Dense(reduced, activation="relu", use_bias=False, name="squeeze")
        self._excite = tf_keras.layers.Dense(fields, activation=self._activation, use_bias=False, name="excite")

    def importance(self, fields: tf.Tensor) -> tf.Tensor:
        """The weights a ``[N, F]``."""
        return self._excite(self._squeeze(tf.reduce_mean(fields, -1)))

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Scales each field by its importance."""
        return fields * self.importance(fields)[:, :, None]


class BilinearInteraction(tf_keras.layers.Layer):
    r"""Products :math:`p_{ij} = (e_i W) \odot e_j` of all pairs i < j.

    Shapes: ``[N, F, d]`` to ``[N, F (F - 1) / 2, d]``, pairs in the order (0, 1), (0, 2), …, (1, 2), …; the matrices
    ``[M, d, d]``, M being 1, F - 1 or the number of pairs, as ``FiBiNETConfig.bilinear`` says.
    """

    def __init__(self, sharing: Sharing, **kwargs: Any):
        """Constructs the layer; ``sharing`` as in ``FiBiNETConfig.bilinear``."""
        super().__init__(**kwargs)
        self._sharing = sharing

    def build(self, shape: tf.TensorShape) -> None:
        """Makes the matrices."""
        fields, size = int(shape[1]), int(shape[2])
        # The last field is nobody's left one, so it needs no matrix.
        matrices = {"field_all": 1, "field_each": fields - 1, "field_interaction": pair_count(fields, "fibinet")}
        # Glorot's uniform for each matrix; Keras would take the number of matrices for the size of a window.
        limit = (3 / size) ** 0.5
        self._kernel = self.add_weight(
            name="kernel",
            shape=[matrices[self._sharing], size, size],
            initializer=tf_keras.initializers.RandomUniform(-limit, limit),
        )

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Maps the fields to the products of their pairs."""
        count, size = fields.shape[1], fields.shape[2]
        kernel, products, first = tf.convert_to_tensor(self._kernel), [], 0
        for left in range(count - 1):
            partners = count - 1 - left
            if self._sharing == "field_interaction":
                # All matrices of one left field side by side: one plain product instead of a batch of small ones.
                own = tf.reshape(tf.transpose(kernel[first : first + partners], [1, 0, 2]), [size, partners * size])
                projected = tf.reshape(tf.matmul(fields[:, left], own), [-1, partners, size])
                first += partners
            else:
                projected = tf.matmul(fields[:, left], kernel[0 if self._sharing == "field_all" else left])[:, None]
            products.append(projected * fields[:, left + 1 :])
        return tf.concat(products, 1)


class FiBiNET(Interaction):
    """Bilinear products of the fields and of the re-weighted fields, one after the other, under a deep network.

    Shapes: ``[N, F, d]`` to ``[N, deep.layers[-1]]``, or to ``[N, F (F - 1) d]`` without layers. F is at least 2.
    """

    CONFIG = FiBiNETConfig

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer."""
        super().__init__(config, **kwargs)
        self._importance = SqueezeExcitation(self.config.reduction_ratio, self.config.excitation, name="importance")
        self._plain = BilinearInteraction(self.config.bilinear, name="plain")
        self._weighted = BilinearInteraction(self.config.bilinear, name="weighted")
        self._deep = DeepNetwork(self.config.deep, name="deep")

    def build(self, shape: tf.TensorShape) -> None:
        """Checks that there is a pair, here because Keras rewrites what a layer inside another one raises.

        Raises:
            DataError: There is but one field.
        """
        pair_count(int(shape[1]), "fibinet")
        super().build(shape)

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps the fields to the deep network's output."""
        products = tf.concat([self._plain(fields), self._weighted(self._importance(fields))], 1)
        return self._deep(flatten(products), training=training)
