"""Records that hold a whole list: so all rows of a list are together, whatever order files and workers give them.

Of each column a record has the values of all rows, one row after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import tensorflow as tf

from crossrec.components.features.item_table import Array
from crossrec.components.features.schema import REQUEST, TIMESTAMP, USER

LIST = "@list"
"""The column that tells lists apart in a batch of rows."""

_LISTS = 256


def lists_of(columns: Mapping[str, Array]) -> tuple[dict[str, Array], Array]:
    """Rows ordered by list, and where lists begin.

    A list is a user's request, or where requests have no id what the user asked at one moment.

    Args:
        columns: Ranking examples ``{name: [n, width]}``.

    Returns:
        The same rows, those of a list in the order in which they came, and the offsets int64 ``[lists + 1]``.
    """
    ids = np.concatenate([columns[USER], columns[REQUEST if REQUEST in columns else TIMESTAMP]], 1)
    _, numbers, sizes = np.unique(ids, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(numbers.reshape(-1), kind="stable")
    return {name: values[order] for name, values in columns.items()}, np.concatenate([[0], np.cumsum(sizes)])


def list_batches(columns: Mapping[str, Array]) -> Iterator[pa.RecordBatch]:
    """Rows as Arrow batches of lists, each to be one tf.Example; arguments as of ``lists_of``."""
    ordered, offsets = lists_of(columns)
    for first in range(0, len(offsets) - 1, _LISTS):
        here = offsets[first : first + _LISTS + 1]
        arrays = []
        for values in ordered.values():
            flat = pa.array(values[here[0] : here[-1]].reshape(-1))
            starts = ((here - here[0]) * values.shape[1]).astype(np.int32)
            arrays.append(pa.ListArray.from_arrays(pa.array(starts), flat))
        yield pa.RecordBatch.from_arrays(arrays, list(ordered))


def parse_list(record: tf.Tensor, spec: Mapping[str, tf.io.FixedLenFeature]) -> dict[str, tf.Tensor]:
    """The rows of a record.

    Args:
        record: A serialized tf.Example.
        spec: How one row would be parsed.

    Returns:
        ``{name: [n, width]}``.
    """
    rows = {
        name: tf.io.FixedLenSequenceFeature(each.shape, each.dtype, allow_missing=True) for name, each in spec.items()
    }
    parsed: dict[str, tf.Tensor] = tf.io.parse_single_example(record, rows)
    return parsed
