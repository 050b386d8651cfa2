"""Reading tf.Examples in batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tfx.dsl.io import fileio

_BATCH = 4096


def parsed_batches(pattern: str, spec: Mapping[str, Any], batch: int = _BATCH) -> tf.data.Dataset:
    """Batches of parsed tf.Examples from gzipped TFRecord files, in the order of the file names."""
    files = sorted(fileio.glob(pattern))
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(batch)
    return dataset.map(lambda examples: tf.io.parse_example(examples, dict(spec))).prefetch(1)
