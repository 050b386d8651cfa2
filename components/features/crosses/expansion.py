"""Numeric features in crosses: quantile buckets at several granularities, as features of their own."""

from __future__ import annotations

from collections.abc import Iterable

from crossrec.components.features.config import Buckets, FeaturesConfig, Numeric
from crossrec.components.features.crosses.config import CrossConfig, default_name


def derived_name(name: str, granularity: int) -> str:
    """The name of what has so many quantile buckets.

    >>> derived_name("price", 16)
    'price_in_16'
    """
    return f"{name}_in_{granularity}"


def numeric_inputs(cross: CrossConfig, features: FeaturesConfig) -> dict[str, Numeric]:
    """The inputs of a cross that quantile buckets stand for."""
    inputs = {name: features.get(name) for name in cross.inputs if name in features.names}
    return {name: feature for name, feature in inputs.items() if isinstance(feature, Numeric)}


def buckets_of(feature: Numeric, granularity: int) -> Buckets:
    """The quantile buckets of a numeric feature's column."""
    return Buckets(type="buckets", column=feature.column, count=granularity)


def expand_cross(cross: CrossConfig, features: FeaturesConfig) -> list[CrossConfig]:
    """A cross at each of its granularities; the cross itself if it has none."""
    granularities: tuple[int, ...] = getattr(cross, "granularities", ())
    if not granularities:
        return [cross]
    numeric = numeric_inputs(cross, features)
    expanded = []
    for granularity in granularities:
        inputs = tuple(derived_name(name, granularity) if name in numeric else name for name in cross.inputs)
        name = derived_name(cross.name, granularity)
        if cross.name == default_name(cross.type, cross.inputs):
            name = default_name(cross.type, inputs)
        expanded.append(cross.model_copy(update={"inputs": inputs, "name": name, "granularities": ()}))
    return expanded


def expand(features: FeaturesConfig, crosses: Iterable[CrossConfig]) -> tuple[FeaturesConfig, tuple[CrossConfig, ...]]:
    """Puts quantile buckets in the place of numeric inputs, one cross per granularity.

    ``{inputs: [device, price], granularities: [4, 16]}`` becomes the crosses ``device_x_price_in_4`` and
    ``device_x_price_in_16`` of the features ``price_in_4`` and ``price_in_16``, which stand on the side of
    ``price`` and read its column. A cross with a name of its own gets ``_in_4`` behind that.

    Args:
        features: The features of the spec.
        crosses: The crosses of the spec, for which ``check_crosses`` finds no problem.

    Returns:
        The features with the derived ones behind them, and crosses without granularities.
    """
    sides = {"query": dict(features.query), "item": dict(features.item)}
    expanded: list[CrossConfig] = []
    for cross in crosses:
        expanded += expand_cross(cross, features)
        for granularity in getattr(cross, "granularities", ()):
            for name, feature in numeric_inputs(cross, features).items():
                derived = sides[features.side_of(name)]
                derived.setdefault(derived_name(name, granularity), buckets_of(feature, granularity))
    if len(sides["query"]) + len(sides["item"]) == len(features.names):
        return features, tuple(expanded)
    return FeaturesConfig(query=sides["query"], item=sides["item"]), tuple(expanded)
