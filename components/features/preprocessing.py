"""The features as TensorFlow Transform operators: sparse raw values in, tensors of static shape out.

A raw value is a sparse tensor, so that a missing value is simply absent, in training data and in a
request alike. ``dense_to_sparse`` makes one from a request's tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from crossrec.components.features.config import (
    TIME_PARTS,
    Buckets,
    Categorical,
    Feature,
    FeaturesConfig,
    Numeric,
    RawKind,
    RecentItems,
    Side,
    Text,
    TimePart,
    Vector,
    transform_columns,
)

RAW_DTYPES: dict[RawKind, tf.DType] = {
    "string": tf.string,
    "strings": tf.string,
    "float": tf.float32,
    "int": tf.int64,
    "floats": tf.float32,
}
PADDING = -1
MISSING_ID, UNKNOWN_ID = 0, 1
_NOISE = 1e-6


def raw_feature_spec(features: FeaturesConfig, side: Side) -> dict[str, tf.io.VarLenFeature]:
    """The parsing specification of the columns that the transform of one side reads."""
    return {name: tf.io.VarLenFeature(RAW_DTYPES[kind]) for name, kind in transform_columns(features, side).items()}


def dense_to_sparse(values: tf.Tensor, kind: RawKind) -> tf.SparseTensor:
    """A request's tensor as the sparse tensor of its present values.

    Args:
        values: ``[B]``, or ``[B, K]`` for ``strings`` and ``floats``; missing is "" (strings), NaN (floats),
            0 (ints). ``floats`` are missing as a whole where one of them is no finite number.
        kind: What the values are.

    Returns:
        Sparse ``[B, 1]`` or ``[B, K]``; the present values of a row stand at its beginning.
    """
    if kind not in ("strings", "floats"):
        values = values[:, None]
    if kind == "floats":
        finite = tf.reduce_all(tf.math.is_finite(values), 1, keepdims=True)
        present = tf.broadcast_to(finite, tf.shape(values))
    elif kind == "float":
        present = tf.math.is_finite(values)
    elif kind == "int":
        present = tf.not_equal(values, 0)
    else:
        present = tf.not_equal(values, "")
    return tf.ragged.boolean_mask(values, present).to_sparse()


def preprocessing_fn(
    features: FeaturesConfig, side: Side, item_vocabulary: str | None = None
) -> Callable[[Mapping[str, tf.SparseTensor]], dict[str, tf.Tensor]]:
    """The ``preprocessing_fn`` of one side.

    Args:
        features: All features.
        side: The side to transform.
        item_vocabulary: File with one item id per line, in the order of the item table; needed on the
            query side where a feature of type ``recent_items`` is.

    Returns:
        A function from raw sparse tensors to ``{name: [B, width]}``.
    """

    def transform(inputs: Mapping[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
        outputs = {}
        for name, feature in getattr(features, side).items():
            raw = inputs[feature.transform_column]
            if isinstance(feature, RecentItems):
                outputs[name] = _recent_items(raw, feature, item_vocabulary)
            else:
                outputs[name] = _OPERATORS[type(feature)](raw, feature, name)
        return outputs

    return transform


def rows(raw: tf.SparseTensor, width: int, default: Any) -> tf.Tensor:
    """Dense ``[B, width]``: the first values of each row, padded with ``default``.

    Args:
        raw: Sparse ``[B, K]``; the values of a row stand at its beginning.
        width: Values to keep.
        default: What fills the rest.
    """
    # A ragged tensor would do the same with five times the operations, assertions among them, in every request.
    kept = raw.indices[:, 1] < width
    first = tf.SparseTensor(
        tf.boolean_mask(raw.indices, kept), tf.boolean_mask(raw.values, kept), tf.stack([raw.dense_shape[0], width])
    )
    return tf.ensure_shape(tf.sparse.to_dense(first, default, validate_indices=False), [None, width])


def item_rows(raw: tf.SparseTensor, item_vocabulary: str) -> tf.SparseTensor:
    """Rows of items in the item table, -1 for items that are not in it.

    Args:
        raw: Sparse ``[B, K]``, item ids.
        item_vocabulary: File with one item id per line, in the order of the item table.
    """
    # Outside of the graph: a constant of the graph itself would be this path for ever, and on another machine
    # the file is not there, only its copy among the graph's assets.
    with tf.init_scope():
        path = tf.constant(item_vocabulary)
    return tft.apply_vocabulary(raw, deferred_vocab_filename_tensor=path, default_value=PADDING)


def _with_values(raw: tf.SparseTensor, values: tf.Tensor) -> tf.SparseTensor:
    return tf.SparseTensor(raw.indices, values, raw.dense_shape)


def _categorical(raw: tf.SparseTensor, feature: Categorical, name: str) -> tf.Tensor:
    if feature.hash_buckets is not None:
        values = 1 + tf.strings.to_hash_bucket_fast(raw.values, _hash_size(feature))
    else:
        config = feature.vocabulary
        size, count = (config.max_size, config.min_count) if config else (None, None)
        ids = tft.compute_and_apply_vocabulary(
            raw, default_value=-1, top_k=size, frequency_threshold=count, vocab_filename=name
        )
        values = ids.values + 2
    return rows(_with_values(raw, values), feature.width, PADDING if feature.multi_valued else MISSING_ID)


def _log(values: tf.Tensor) -> tf.Tensor:
    return tf.sign(values) * tf.math.log1p(tf.abs(values))


def _numeric(raw: tf.SparseTensor, feature: Numeric, name: str) -> tf.Tensor:
    if feature.impute == "mean":
        default = tft.mean(raw)
    elif feature.impute == "median":
        default = tft.quantiles(raw.values, num_buckets=2, epsilon=0.001)[0, 0]
    else:
        default = tf.constant(0.0 if feature.impute == "zero" else feature.impute, tf.float32)
    present = rows(_with_values(raw, tf.ones_like(raw.values, tf.bool)), 1, False)
    out = tf.where(present, rows(raw, 1, 0.0), default)
    if feature.clip is not None:
        out = tf.clip_by_value(out, *feature.clip)
    if feature.log:
        out = _log(out)
    if feature.normalise == "z_score":
        mean, deviation = tft.mean(out), tf.sqrt(tft.var(out))
        # The deviation of a constant comes out as rounding noise, by which the first other value would explode.
        deviation = tf.where(deviation > _NOISE * tf.abs(mean), deviation, 0.0)
        out = tf.math.divide_no_nan(out - mean, deviation)
    elif feature.normalise == "min_max":
        low, high = tft.min(out), tft.max(out)
        out = tf.math.divide_no_nan(out - low, high - low)
    return tf.ensure_shape(out, [None, 1])


def _buckets(raw: tf.SparseTensor, feature: Buckets, name: str) -> tf.Tensor:
    boundaries = tft.quantiles(raw.values, num_buckets=feature.count, epsilon=0.001)
    ids = 1 + tf.searchsorted(boundaries[0], raw.values, side="right", out_type=tf.int64)
    return rows(_with_values(raw, ids), 1, MISSING_ID)


def _time_part(raw: tf.SparseTensor, feature: TimePart, name: str) -> tf.Tensor:
    seconds = raw.values + feature.utc_offset_hours * 3600
    days = seconds // 86_400
    hour = seconds // 3600 % 24
    weekday = (days + 3) % 7  # 1 January 1970 was a Thursday; Monday is 0.
    month, day = _civil(days)
    part = {
        "hour": hour,
        "part_of_day": hour // 6,
        "weekday": weekday,
        "day_of_month": day,
        "month": month,
        "hour_of_week": weekday * 24 + hour,
    }[feature.part]
    return rows(_with_values(raw, part + 1), 1, MISSING_ID)


def _civil(days: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Month and day (from 0) of days since 1970 (Hinnant 2013, "chrono-Compatible Low-Level Date Algorithms")."""
    shifted = days + 719_468
    day_of_era = shifted - shifted // 146_097 * 146_097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * day_of_year + 2) // 153
    return (march_month + 2) % 12, day_of_year - (153 * march_month + 2) // 5


def tokenize(texts: tf.Tensor) -> tf.RaggedTensor:
    """Lower-case words and numbers of each text, Han characters one by one.

    Args:
        texts: string ``[N]``; control characters and bytes that are no UTF-8 count as separators.

    Returns:
        Ragged string ``[N, tokens]``.
    """
    clean = tf.strings.unicode_transcode(
        texts, "UTF-8", "UTF-8", errors="replace", replacement_char=0x20, replace_control_characters=True
    )
    clean = tf.strings.lower(clean, encoding="utf-8")
    clean = tf.strings.regex_replace(clean, r"[^\pL\pM\pN]+", " ")
    clean = tf.strings.regex_replace(clean, r"(\p{Han})", r" \1 ")
    return tf.strings.split(clean)


def _text(raw: tf.SparseTensor, feature: Text, name: str) -> tf.Tensor:
    if feature.encoder is not None:
        return rows(raw, feature.width, 0.0 if feature.clusters is None else MISSING_ID)
    outputs = []
    for n, grams in enumerate(_grams(raw, feature), 1):
        ids = 1 + tf.strings.to_hash_bucket_fast(grams.values, _hash_size(feature))
        width = feature.max_tokens - n + 1
        if width > 0:
            outputs.append(grams.with_values(ids).to_tensor(PADDING, shape=[None, width]))
    return tf.ensure_shape(tf.concat(outputs, 1), [None, feature.width])


def _grams(raw: tf.SparseTensor, feature: Text) -> list[tf.RaggedTensor]:
    """Words, pairs of words and so on of each text; each ragged string ``[B, grams]``."""
    tokens = tokenize(rows(raw, 1, "")[:, 0])[:, : feature.max_tokens]
    longer = [tf.strings.ngrams(tokens, n, separator=" ") for n in range(2, feature.ngrams + 1)]
    return [tokens, *longer]


def hashed_values(raw: tf.SparseTensor, feature: Categorical | Text) -> tf.Tensor:
    """What a hashed feature makes ids of, string ``[N]``: the values of all rows, one after the other."""
    if isinstance(feature, Categorical):
        return raw.values
    return tf.concat([grams.values for grams in _grams(raw, feature)], 0)


def _hash_size(feature: Categorical | Text) -> int:
    if not isinstance(feature.hash_buckets, int):
        raise ValueError(f"hash_buckets is still {feature.hash_buckets!r}: the data settle it before the transform")
    return feature.hash_buckets


def _recent_items(raw: tf.SparseTensor, feature: RecentItems, item_vocabulary: str | None) -> tf.Tensor:
    return rows(item_rows(raw, str(item_vocabulary)), feature.width, PADDING)


def _vector(raw: tf.SparseTensor, feature: Vector, name: str) -> tf.Tensor:
    return rows(raw, feature.width, 0.0)


_OPERATORS: dict[type, Callable[[tf.SparseTensor, Any, str], tf.Tensor]] = {
    Categorical: _categorical,
    Numeric: _numeric,
    Buckets: _buckets,
    TimePart: _time_part,
    Text: _text,
    Vector: _vector,
}


def cardinality(feature: Feature, vocabulary_size: int | None, items: int) -> int:
    """Number of ids that a feature can give, the missing one included; 0 for dense features.

    Args:
        feature: The feature.
        vocabulary_size: Values in its vocabulary, where it has one.
        items: Rows of the item table, without the row of unknown items.
    """
    if isinstance(feature, Categorical):
        return _hash_size(feature) + 1 if feature.hash_buckets else (vocabulary_size or 0) + 2
    if isinstance(feature, Buckets):
        return feature.count + 1
    if isinstance(feature, TimePart):
        return TIME_PARTS[feature.part] + 1
    if isinstance(feature, Text):
        if feature.encoder is not None:
            return feature.clusters + 1 if feature.clusters is not None else 0
        return _hash_size(feature) + 1
    return items if isinstance(feature, RecentItems) else 0
