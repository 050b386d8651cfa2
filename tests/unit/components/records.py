"""Small tables as gzipped TFRecord files of tf.Example, as ingestion writes them."""

from pathlib import Path

import numpy as np
import tensorflow as tf


def example(row):
    """A tf.Example; None is a missing value, a feature without values."""
    features = tf.train.Features()
    for name, value in row.items():
        values = [] if value is None else value if isinstance(value, list) else [value]
        feature = features.feature[name]
        if any(isinstance(v, (str, bytes)) for v in values):
            feature.bytes_list.value.extend(v.encode() if isinstance(v, str) else v for v in values)
        elif any(isinstance(v, (float, np.floating)) for v in values):
            feature.float_list.value.extend(values)
        elif values:
            feature.int64_list.value.extend(values)
    return tf.train.Example(features=features)


def write_records(directory, rows, shards=1):
    """Writes rows in order into the files of one split; gives the file pattern."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        name = f"{directory}/data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
        with tf.io.TFRecordWriter(name, tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
            part = rows[len(rows) * shard // shards : len(rows) * (shard + 1) // shards]
            for row in part:
                writer.write(example(row).SerializeToString())
    return f"{directory}/*"
