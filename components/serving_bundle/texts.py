"""The query's texts as the columns that the transform reads, made by the pipeline's own encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from crossrec.components.features.item_table import Array
from crossrec.components.features.preprocessing import dense_to_sparse
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.text_embedder.clusters import nearest_cluster


class QueryTexts(tf.Module):
    """Encodes each column of texts once per encoder, however many features read it."""

    def __init__(self, schema: FeatureSchema, encoders: Mapping[str, Any], centres: Mapping[str, Array]):
        """Keeps the encoders.

        Args:
            schema: Says which columns of the query are made of texts.
            encoders: By key, as ``load_encoder`` gives them.
            centres: Of the clusters, by encoded column, float32 ``[K, dimension]``.
        """
        super().__init__()
        self._encodings = [encoding for encoding in schema.encodings if encoding.side == "query"]
        self._encoders = {encoding.encoder: encoders[encoding.encoder] for encoding in self._encodings}
        self._centres = {
            encoding.encoded_column: tf.Variable(centres[encoding.encoded_column], trainable=False)
            for encoding in self._encodings
            if encoding.clusters is not None
        }

    def columns(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.SparseTensor]:
        """The encoded columns of a request.

        Args:
            inputs: Raw query inputs, string ``[B]`` each; "" is missing.
        """
        vectors: dict[tuple[str, str], tf.Tensor] = {}
        found = {}
        for encoding in self._encodings:
            made_of = (encoding.column, encoding.encoder)
            if made_of not in vectors:
                vectors[made_of] = self._encoders[encoding.encoder].encode(inputs[encoding.column])
            if encoding.clusters is None:
                # The zeros of a missing text are what the transform puts in its place.
                found[encoding.encoded_column] = dense_to_sparse(vectors[made_of], "floats")
            else:
                ids = nearest_cluster(vectors[made_of], self._centres[encoding.encoded_column])
                found[encoding.encoded_column] = dense_to_sparse(ids, "int")
        return found
