"""The item graph of a run over a catalogue in memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft

from crossrec.components.example_gen.records import as_lists
from crossrec.components.features.item_table import Array
from crossrec.components.threads import in_threads

_ROWS = 20_000


def transform_items(items: pa.Table, spec: Mapping[str, tf.io.VarLenFeature], graph: str) -> dict[str, Array]:
    """Transforms the raw columns of all items.

    Args:
        items: Scalar columns and lists of text or numbers, [N].
        spec: The columns that the graph reads.
        graph: Directory of the item side's transform graph.

    Returns:
        ``{name: [N, width]}``.
    """
    layer = tft.TFTransformOutput(graph).transform_features_layer()
    signature = {name: tf.SparseTensorSpec([None, None], feature.dtype) for name, feature in spec.items()}
    step = tf.function(lambda raw: layer(raw), input_signature=[signature], autograph=False)
    columns = items.select(list(spec))

    def of(start: int) -> dict[str, Array]:
        # The operations on strings run on one thread each.
        (batch,) = columns.slice(start, _ROWS).combine_chunks().to_batches()
        return {name: values.numpy() for name, values in step(_sparse(batch, spec)).items()}

    parts = in_threads(of, range(0, items.num_rows, _ROWS))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _sparse(batch: pa.RecordBatch, spec: Mapping[str, tf.io.VarLenFeature]) -> dict[str, tf.SparseTensor]:
    """Columns as what parsing tf.Examples gives: the values of a row at its beginning, nothing where it has none."""
    out = {}
    for name, lists in zip(batch.schema.names, as_lists(batch).columns):
        counts = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        rows = np.repeat(np.arange(len(counts)), counts)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        out[name] = tf.SparseTensor(
            np.stack([rows, places], 1).astype(np.int64),
            _tensor(lists.flatten(), spec[name].dtype),
            [len(counts), int(counts.max(initial=0))],
        )
    return out


def _tensor(values: pa.Array, dtype: tf.DType) -> tf.Tensor:
    if dtype != tf.string:
        return tf.constant(values.to_numpy(zero_copy_only=False), dtype)
    # A text becomes an object of Python on its way, which costs more than all else; one that comes often, only once.
    encoded = values.cast(pa.large_binary()).dictionary_encode()
    texts = tf.constant(encoded.dictionary.to_numpy(zero_copy_only=False), tf.string)
    return tf.gather(texts, encoded.indices.to_numpy())
