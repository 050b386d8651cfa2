"""Raw interactions as the requests that a search backend would have sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from crossrec.components.features.config import RawKind
from crossrec.components.features.item_table import Array
from crossrec.components.features.preprocessing import RAW_DTYPES

_NAN = np.float32(np.nan)
_MISSING: dict[RawKind, object] = {"string": b"", "strings": b"", "float": _NAN, "floats": _NAN, "int": 0}
_LISTS: tuple[RawKind, ...] = ("strings", "floats")


def raw_batches(pattern: str, columns: Mapping[str, RawKind], batch_size: int) -> Iterator[dict[str, Array]]:
    """Raw rows as request tensors.

    Args:
        pattern: Raw tf.Examples, gzipped TFRecord files.
        columns: Columns to read, with the kind of each.
        batch_size: Rows of a batch.

    Yields:
        ``{column: [B]}``, or ``[B, K]`` for ``strings`` and ``floats``, K the most values of a row of the batch.
    """
    spec = {name: tf.io.RaggedFeature(RAW_DTYPES[kind]) for name, kind in columns.items()}
    files = sorted(fileio.glob(pattern))
    for records in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(batch_size):
        parsed = tf.io.parse_example(records, spec)
        batch = {}
        for name, kind in columns.items():
            dense = parsed[name].to_tensor(_MISSING[kind], shape=[None, None if kind in _LISTS else 1]).numpy()
            batch[name] = dense if kind in _LISTS else dense[:, 0]
        yield batch


def concatenate(batches: list[dict[str, Array]]) -> dict[str, Array]:
    """Batches one after the other; multi-valued columns are padded to the longest."""
    out = {}
    for name in batches[0]:
        arrays = [batch[name] for batch in batches]
        if arrays[0].ndim == 2:
            width = max(array.shape[1] for array in arrays)
            missing = _NAN if arrays[0].dtype.kind == "f" else b""
            arrays = [np.pad(a, [(0, 0), (0, width - a.shape[1])], constant_values=missing) for a in arrays]
        out[name] = np.concatenate(arrays)
    return out


def sample_rows(pattern: str, columns: Mapping[str, RawKind], rows: int) -> dict[str, Array]:
    """The first raw rows of a split, at most ``rows`` of them, as request tensors."""
    batches: list[dict[str, Array]] = []
    seen = 0
    for batch in raw_batches(pattern, columns, 256):
        batches.append(batch)
        seen += len(next(iter(batch.values())))
        if seen >= rows:
            break
    return {name: values[:rows] for name, values in concatenate(batches).items()}


def fill_vectors(requests: Mapping[str, Array], widths: Mapping[str, int]) -> dict[str, Array]:
    """The requests with all vectors as long as the model wants them, also where no row has one."""
    out = dict(requests)
    for name, width in widths.items():
        missing = width - out[name].shape[1]
        out[name] = np.pad(out[name], [(0, 0), (0, missing)], constant_values=_NAN)
    return out
