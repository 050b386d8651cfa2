"""What crosses demand of the features and labels that they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from crossrec.components.features.config import FeaturesConfig, Vector
from crossrec.components.features.crosses.config import CrossConfig, SimilarityCross, StatisticsCross
from crossrec.components.features.crosses.expansion import buckets_of, derived_name, expand_cross, numeric_inputs

_MOST_PAIRS = 256


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
            problems += _check_vectors(cross, where, inputs, features)
            continue
        problems += _check_ids(cross, where, inputs, features)
        if isinstance(cross, StatisticsCross) and labels is not None and cross.label and cross.label not in labels:
            problems.append(f"{where}.label: {cross.label!r} is no label. Known: {', '.join(labels)}")
    return problems


def _crossable(features: FeaturesConfig, cross: CrossConfig) -> list[str]:
    """The features that may stand among the inputs of such a cross."""
    if isinstance(cross, SimilarityCross):
        return [name for name, _, feature in features.items() if isinstance(feature, Vector)]
    return [name for name, _, feature in features.items() if feature.kind in ("ids", "items")]


def _check_names(cross: CrossConfig, where: str, taken: Sequence[str], features: FeaturesConfig) -> Iterator[str]:
    for name in dict.fromkeys(expanded.name for expanded in expand_cross(cross, features)):
        if taken.count(name) > 1:
            yield f"{where}.name: {name!r} is taken twice. Give each cross its own name"
        if name in features.names:
            yield f"{where}.name: {name!r} is a feature's name. Give the cross another one"


def _check_vectors(
    cross: SimilarityCross, where: str, inputs: Sequence[str], features: FeaturesConfig
) -> Iterator[str]:
    vectors = _crossable(features, cross)
    for name in inputs:
        if name not in vectors:
            yield (
                f"{where}.inputs: {name!r} is of type {features.get(name).type!r}, which gives no vector. "
                "Use a feature of type 'vector'"
            )
    dimensions = {name: features.get(name).width for name in inputs if name in vectors}
    if len(set(dimensions.values())) > 1:
        sizes = " and ".join(f"{name!r} of {size}" for name, size in dimensions.items())
        yield f"{where}.inputs: {sizes} dimensions cannot be compared. Give both one 'dimension'"


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
            yield f"{where}.inputs: {name!r} gives no ids ({feature.type}). Cross another feature"
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
