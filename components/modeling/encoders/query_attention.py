r"""Attention of the query to the recent items: those count that its words have to do with.

Scaled dot-product attention (Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin: "Attention Is All
You Need", NeurIPS 2017) with queries and keys of one length (Henry, Dachapally, Pawar, Chen: "Query-Key Normalization
for Transformers", Findings of EMNLP 2020), because what is compared are vectors of texts, whose angle tells how alike
they are.
"""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
import tf_keras

from crossrec.components.modeling.interest.interest import SequenceConfig, masked_softmax

QueryAttentionInputs = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]
"""Vectors of queries, of the sequence's items to compare them with, of the items to mix, and which are present."""


class QueryAttentionConfig(SequenceConfig):
    """The recent items, weighed by what the query has to do with each.

    Attributes:
        type: Names this encoder in the spec.
        sequence: As in SequenceConfig.
        features: As in SequenceConfig.
        query: A query feature of numbers: the vector of the query's text.
        keys: An item feature of as many numbers, by the same encoder: the vector of the title.
    """

    type: Literal["query_attention"] = "query_attention"
    query: str
    keys: str

    @property
    def query_features(self) -> tuple[str, ...]:
        """The sequence and the query's vector."""
        return (self.sequence, self.query)

    @property
    def item_features(self) -> tuple[str, ...]:
        """The keys, and what makes up an item's vector."""
        return tuple(dict.fromkeys((self.keys, *(self.features or ()))))


class QueryAttention(tf_keras.layers.Layer):
    r""":math:`\sum_l \mathrm{softmax}(\sqrt{d}\, \hat q^T W \hat k_l)_l v_l` over the items that have a key.

    :math:`\hat q` and :math:`\hat k_l` have length one, which times :math:`\sqrt d` makes them numbers of variance one.
    W begins as the identity, so that a new model attends to the items whose texts are nearest to the query's. Of a
    query without a vector all items count the same; where no item has a key the result is zeros.
    """

    def __init__(self, config: Any, **kwargs: Any):
        """Constructs the layer from a configuration or from the mapping that ``get_config`` gives."""
        super().__init__(**kwargs)
        self.config = QueryAttentionConfig.model_validate(config)

    def build(self, shapes: tuple[tf.TensorShape, ...]) -> None:
        """Makes the matrix between queries and keys."""
        size = int(shapes[0][-1])
        self._metric = self.add_weight(name="metric", shape=(size, size), initializer="identity")

    def call(self, inputs: QueryAttentionInputs) -> tf.Tensor:
        """Mixes the items' vectors.

        Args:
            inputs: Queries ``[B, d]``, keys ``[B, L, d]``, values ``[B, L, D]``, and bool ``[B, L]``, False where an
                item is padding; L, d and D are static.

        Returns:
            ``[B, D]``.
        """
        queries, keys, values, present = inputs
        # In float16 the least squared length that a vector is divided by would be zero.
        queries, keys = tf.cast(queries, tf.float32), tf.cast(keys, tf.float32)
        known = present & tf.reduce_any(tf.not_equal(keys, 0.0), -1)
        asked = tf.matmul(tf.math.l2_normalize(queries, -1), tf.cast(self._metric, tf.float32)) * keys.shape[-1] ** 0.5
        weights = masked_softmax(tf.reduce_sum(asked[:, None] * tf.math.l2_normalize(keys, -1), -1), known)
        return tf.reduce_sum(tf.cast(weights, values.dtype)[..., None] * values, 1)

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to construct the layer again."""
        return {**super().get_config(), "config": self.config.model_dump(mode="json")}
