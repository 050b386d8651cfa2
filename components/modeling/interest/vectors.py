"""What the vector of an item is, for a recent one as for a candidate: fields of its features, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from crossrec.components.errors import DataError
from crossrec.components.features.schema import FeatureSchema


def default_features(schema: FeatureSchema, names: Sequence[str]) -> list[str]:
    """Those of the named features that give a single id of the item.

    Texts and other multi-valued features are left to be asked for: they cost many look-ups per recent item.

    Raises:
        DataError: There is none.
    """
    found = [
        feature.name
        for feature in schema.side("item")
        if feature.name in names and feature.kind == "ids" and not feature.multi_valued
    ]
    if not found:
        raise DataError(
            "ranking.interest.features",
            f"left out, and ranking.features {list(names)} has no single-valued id feature of an item",
            "Name item features.",
        )
    return found


def flatten_fields(fields: tf.Tensor) -> tf.Tensor:
    """Fields ``[A, B, F, d]`` one after the other: ``[A, B, F d]``."""
    shape = tf.shape(fields)
    return tf.reshape(fields, [shape[0], shape[1], fields.shape[2] * fields.shape[3]])
