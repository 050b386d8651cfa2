"""Raw interactions as a trainer parses them and as a client sends them, each made on its own way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.features.schema import FeatureSchema

Row = Mapping[str, Sequence[Any]]
Array = np.ndarray[Any, Any]

_DTYPES = {"string": object, "strings": object, "float": np.float32, "int": np.int64}
_MISSING = {"string": b"", "strings": b"", "float": math.nan, "int": 0}


def read_rows(uri: str, split: str, most: int = 10**9) -> list[dict[str, list[Any]]]:
    """The first records of a split: the values of each column, absent where there are none."""
    rows: list[dict[str, list[Any]]] = []
    files = sorted(str(file) for file in Path(uri, f"Split-{split}").iterdir())
    for record in tf.data.TFRecordDataset(files, "GZIP").take(most).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        kinds = {name: feature.WhichOneof("kind") for name, feature in features.items()}
        rows.append({name: list(getattr(features[name], kind).value) for name, kind in kinds.items() if kind})
    return rows


def as_request(rows: Sequence[Row], schema: FeatureSchema) -> dict[str, Array]:
    """Inputs of the served signatures: ``[B]``, or ``[B, K]`` for multi-valued columns."""
    inputs = {}
    for name, kind in schema.raw_query.items():
        values = [list(row.get(name, ())) for row in rows]
        width = max(map(len, values), default=0) if kind == "strings" else 1
        padded = [row + [_MISSING[kind]] * (width - len(row)) for row in values]
        array = np.array(padded, _DTYPES[kind]).reshape(len(rows), width)
        inputs[name] = array if kind == "strings" else array[:, 0]
    return inputs


def as_examples(rows: Sequence[Row], schema: FeatureSchema) -> list[bytes]:
    """Serialized tf.Examples, as ingestion writes them."""
    made = []
    for row in rows:
        example = tf.train.Example()
        for name, kind in schema.raw_query.items():
            feature = example.features.feature[name]
            place = {"float": feature.float_list, "int": feature.int64_list}.get(kind, feature.bytes_list)
            place.value.extend(row.get(name, ()))
        made.append(example.SerializeToString())
    return made
