"""Features as fields: one vector of a common size per feature or cross."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from crossrec.components.features.schema import FeatureSchema
from crossrec.components.modeling.inputs import Tensors, with_crosses


class FieldEmbedding(tf_keras.layers.Layer):
    """One feature to a vector: the mean of its ids' embeddings, or its numbers times a matrix.

    Shapes: ids int64 ``[..., width]`` (-1 is padding) or dense float32 ``[..., width]`` to ``[..., dimension]``.
    A row that is all padding gives zeros.
    """

    def __init__(self, cardinality: int, dimension: int, **kwargs: Any):
        """Constructs the layer.

        Args:
            cardinality: Number of ids; 0 for a dense feature.
            dimension: Size of the vector.
            **kwargs: For Keras.
        """
        super().__init__(**kwargs)
        self._cardinality, self._dimension = cardinality, dimension

    def build(self, shape: tf.TensorShape) -> None:
        """Makes the table or the matrix."""
        rows = self._cardinality or int(shape[-1])
        deviation = 0.01 if self._cardinality else 0.1
        self.table = self.add_weight(
            name="table",
            shape=(rows, self._dimension),
            initializer=tf_keras.initializers.RandomNormal(stddev=deviation),
        )

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """Maps ``[..., width]`` to ``[..., dimension]``."""
        table = tf.cast(self.table, self.compute_dtype)
        if not self._cardinality:
            return tf.tensordot(tf.cast(values, self.compute_dtype), table, 1)
        if values.shape[-1] == 1:
            vectors = tf.gather(table, tf.maximum(values[..., 0], 0))
            return vectors * tf.cast(values >= 0, vectors.dtype)
        mask = tf.cast(values >= 0, table.dtype)
        vectors = tf.gather(table, tf.maximum(values, 0))
        total = tf.einsum("...kd,...k->...d", vectors, mask)
        return total / tf.maximum(tf.reduce_sum(mask, -1, keepdims=True), 1.0)


class Fields(tf_keras.layers.Layer):
    """Named features and crosses, each as one field.

    Takes ``{name: [..., width]}`` and gives a list of ``[..., dimension]``, in the order of the names.
    """

    def __init__(self, schema: FeatureSchema, names: Sequence[str], dimension: int, **kwargs: Any):
        """Constructs the layer.

        Args:
            schema: Describes the features and crosses.
            names: Which of them become fields.
            dimension: Size of each vector.
            **kwargs: For Keras.
        """
        super().__init__(**kwargs)
        self._schema, self._names = schema, list(names)
        crosses = {cross.name: cross.buckets + 1 for cross in schema.crosses}
        features = {feature.name: feature.cardinality if feature.kind != "dense" else 0 for feature in schema.features}
        sizes = features | crosses
        self._embeddings = {name: FieldEmbedding(sizes[name], dimension, name=f"field_{name}") for name in self._names}

    def call(self, features: Tensors) -> list[tf.Tensor]:
        """Maps the features to a list of fields ``[..., dimension]``."""
        values = with_crosses(self._schema, features, self._names)
        return [self._embeddings[name](values[name]) for name in self._names]
