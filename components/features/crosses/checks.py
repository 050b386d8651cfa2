"""What crosses demand of the features and labels that they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from crossrec.components.features.config import Feature, FeaturesConfig, Text, Vector
from crossrec.components.features.crosses.config import BM25Cross, CrossConfig, SimilarityCross, StatisticsCross
from crossrec.components.features.crosses.expansion import buckets_of, derived_name, expand_cross, numeric_inputs

_MOST_PAIRS = 256
_MOST_COMPARISONS = 16_384


def check_crosses(
    crosses: Sequence[CrossConfig], features: FeaturesConfig, labels: Sequence[str] | None = None
) -> list[str]:
    """Problems of the crosses against the features, each with its mend; empty if there are none.

    Args:
        crosses: The explicit crosses of the spec, not expanded.
        features: The features of the spec.
        labels: The labels; not checked if left out.
    """
    problems: list[str] = []
    taken = [expanded.name for cross in crosses for expanded in expand_cross(cross, features)]
    for position, cross in enumerate(crosses):
        where = f"crosses.explicit.{position}"
        problems += _check_names(cross, where, taken, features)
        unknown = [name for name in cross.inputs if name not in features.names]
        known = ", ".join(_crossable(features, cross))
        problems += [f"{where}.inputs: {name!r} is not a feature. Known: {known}" for name in unknown]
        inputs = [name for name in cross.inputs if name not in unknown]
        if isinstance(cross, SimilarityCross):
            problems += check_vectors(inputs, features, f"{where}.inputs")
            continue
        if isinstance(cross, BM25Cross):
            problems += _check_texts(cross, where, features)
            continue
        problems += _check_ids(cross, where, inputs, features)
        if isinstance(cross, StatisticsCross) and labels is not None and cross.label and cross.label not in labels:
            problems.append(f"{where}.label: {cross.label!r} is no label. Known: {', '.join(labels)}")
    return problems


def _crossable(features: FeaturesConfig, cross: CrossConfig) -> list[str]:
    """The features that may stand among the inputs of such a cross."""
    if isinstance(cross, SimilarityCross):
        return _with_vectors(features)
    if isinstance(cross, BM25Cross):
        return [name for name, _, feature in features.items() if _has_words(feature)]
    return [name for name, _, feature in features.items() if feature.kind in ("ids", "items")]


def _check_names(cross: CrossConfig, where: str, taken: Sequence[str], features: FeaturesConfig) -> Iterator[str]:
    for name in dict.fromkeys(expanded.name for expanded in expand_cross(cross, features)):
        if taken.count(name) > 1:
            yield f"{where}.name: {name!r} is taken twice. Give each cross its own name"
        if name in features.names:
            yield f"{where}.name: {name!r} is a feature's name. Give the cross another one"


def _with_vectors(features: FeaturesConfig) -> list[str]:
    return [
        name
        for name, _, feature in features.items()
        if isinstance(feature, Vector) or (isinstance(feature, Text) and feature.kind == "dense")
    ]


def check_vectors(inputs: Sequence[str], features: FeaturesConfig, where: str) -> Iterator[str]:
    """Problems of two features whose vectors shall be compared: as many numbers, and of texts one encoder.

    Args:
        inputs: The features, all of them known.
        features: The features of the spec.
        where: The field of the spec that names them.
    """
    vectors = _with_vectors(features)
    for name in inputs:
        if name not in vectors:
            feature = features.get(name)
            given = f"is of type {feature.type!r}, which gives no vector"
            if isinstance(feature, Text):
                given = f"gives {'clusters' if feature.clusters else 'hashed words'} of its text, not a vector"
            yield f"{where}: {name!r} {given}. Use a feature of type 'vector', or 'text' with an 'encoder'"
    dimensions = {name: features.get(name).width for name in inputs if name in vectors}
    if len(set(dimensions.values())) > 1:
        sizes = " and ".join(f"{name!r} of {size}" for name, size in dimensions.items())
        yield f"{where}: {sizes} dimensions cannot be compared. Give both one 'dimension'"
        return
    encoders = {}
    for name in dimensions:
        feature = features.get(name)
        if isinstance(feature, Text) and feature.encoder is not None:
            encoders[name] = feature.encoder
    if len({encoder.key for encoder in encoders.values()}) > 1:
        left, right = (encoder.model_dump(exclude_defaults=True) for encoder in encoders.values())
        names = " and ".join(repr(name) for name in encoders)
        yield (
            f"{where}: {names} have different encoders, {left} and {right}, whose vectors cannot be compared. "
            "Give both one 'encoder'"
        )


def _has_words(feature: Feature) -> bool:
    return isinstance(feature, Text) and feature.encoder is None


def _check_texts(cross: BM25Cross, where: str, features: FeaturesConfig) -> Iterator[str]:
    known = [name for name in cross.inputs if name in features.names]
    for name in known:
        feature = features.get(name)
        if not _has_words(feature):
            given = "vectors or clusters" if isinstance(feature, Text) else f"type {feature.type!r}"
            yield (
                f"{where}.inputs: {name!r} gives no words ({given}). Use a feature of type 'text' without 'encoder'; "
                f"a second one may read column {feature.column!r}"
            )
        wanted = "query" if name == cross.inputs[0] else "item"
        if features.side_of(name) != wanted:
            yield (
                f"{where}.inputs: {name!r} is a feature of the {features.side_of(name)}, where one of the {wanted} "
                "should stand. Name the text of the query first, then texts of the item"
            )
    texts = {name: features.get(name) for name in known if _has_words(features.get(name))}
    for option in ("hash_buckets", "ngrams"):
        values = {name: getattr(feature, option) for name, feature in texts.items()}
        if len(set(values.values())) > 1:
            given = ", ".join(f"{value} of {name!r}" for name, value in values.items())
            yield f"{where}.inputs: {option} differ ({given}), so that words would not be found. Give all the same"
    words, *others = (feature.width for feature in texts.values()) if texts else (0,)
    if words * sum(others) > _MOST_COMPARISONS:
        yield (
            f"{where}.inputs: {words} words of {cross.inputs[0]!r} against {sum(others)} of an item are "
            f"{words * sum(others)} comparisons, more than {_MOST_COMPARISONS}. Lower 'max_tokens'"
        )


def _check_ids(cross: CrossConfig, where: str, inputs: Sequence[str], features: FeaturesConfig) -> Iterator[str]:
    granularities: tuple[int, ...] = getattr(cross, "granularities", ())
    numeric = numeric_inputs(cross, features)
    for name in inputs:
        feature = features.get(name)
        if name in numeric and not granularities:
            yield (
                f"{where}.inputs: {name!r} gives no ids ({feature.kind}). Give the cross 'granularities: [4, 16]', or "
                "cross a feature of type 'buckets' on the same column"
            )
        elif name not in numeric and feature.kind == "dense":
            mend = "Give it 'clusters', or cross" if isinstance(feature, Text) else "Cross"
            yield f"{where}.inputs: {name!r} gives no ids ({feature.type}). {mend} another feature"
    for name, feature in numeric.items():
        for granularity in granularities:
            there = derived_name(name, granularity)
            if there in features.names and features.get(there) != buckets_of(feature, granularity):
                yield f"{where}.granularities: {granularity} makes a feature {there!r}, which is there. Rename that"
    if granularities and not numeric and len(inputs) == len(cross.inputs):
        yield f"{where}.granularities: {list(granularities)}, but no input is numeric. Leave it out"
    width = int(np.prod([features.get(name).width for name in inputs]))
    if width > _MOST_PAIRS:
        yield (
            f"{where}.inputs: {' x '.join(cross.inputs)} makes {width} pairs an example, more than {_MOST_PAIRS}. "
            "Lower 'max_length' or 'max_tokens' of the inputs"
        )
