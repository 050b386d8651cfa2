"""The ``crosses.auto`` section of the spec: how crosses are searched."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from crossrec.components.features.config import FeaturesConfig, Numeric, Text
from crossrec.components.features.crosses.expansion import buckets_of, derived_name
from crossrec.components.features.frozen import Frozen

Granularity = Annotated[int, Field(ge=2, le=1_000)]


class SearchBudget(Frozen):
    """What a search may cost.

    Attributes:
        minutes: After these the search ends with what it has; what it has chosen is still confirmed.
        memory_gb: For the sample and what is computed beside it; fewer rows are taken if need be.
        rows: Most rows of the training split that are looked at, a sample by a hash of the row.
    """

    minutes: float = Field(default=30.0, gt=0, le=100_000)
    memory_gb: float = Field(default=8.0, gt=0, le=100_000)
    rows: int = Field(default=10_000_000, ge=1_000)


class AutoCrosses(Frozen):
    """Which crosses are searched, and when one is taken.

    Attributes:
        features: Candidate features: of ids, or numeric ones, which are cut into quantile buckets. If left out, all
            features of ids and all numeric ones.
        max_order: Most features in a cross.
        max_crosses: Most crosses to choose.
        granularities: Numbers of quantile buckets of numeric candidates; a cross uses one of them.
        exhaustive: If an order has at most so many possible crosses, all are looked at; else only those that
            extend the best of the order below.
        beam: How many of the order below are extended.
        min_gain: Least gain in log loss, in nats per row, over all others that are chosen.
        false_discovery_rate: Share of chosen crosses that may be without effect, on average.
        min_count: A combination with fewer rows gets no weight, so that crosses of rare ones gain little.
        width_penalty: How much of its gain a cross loses in comparisons for each doubling of its combinations.
        max_pairs: Most ids of a cross in one row; wider crosses of multi-valued features are left out.
        negatives: Rows with an item drawn by popularity, for each row, where all labels are 1.
        budget: What the search may cost.
    """

    features: tuple[str, ...] = ()
    max_order: int = Field(default=4, ge=2, le=4)
    max_crosses: int = Field(default=12, ge=1, le=100)
    granularities: tuple[Granularity, ...] = (8, 16, 64)
    exhaustive: int = Field(default=2_000, ge=0)
    beam: int = Field(default=12, ge=1, le=1_000)
    min_gain: float = Field(default=1e-4, ge=0)
    false_discovery_rate: float = Field(default=0.05, gt=0, lt=1)
    min_count: int = Field(default=5, ge=1)
    width_penalty: float = Field(default=0.02, ge=0, lt=1)
    max_pairs: int = Field(default=32, ge=1, le=256)
    negatives: int = Field(default=4, ge=1, le=100)
    budget: SearchBudget = SearchBudget()


def candidates(features: FeaturesConfig, auto: AutoCrosses) -> tuple[str, ...]:
    """The candidate features as the spec names them, numeric ones not yet cut into buckets."""
    if auto.features:
        return auto.features
    return tuple(name for name, _, _ in features.items() if _can_be_crossed(features, name))


def check_auto(features: FeaturesConfig, auto: AutoCrosses) -> list[str]:
    """Problems of the candidates against the features, each with its mend; empty if there are none."""
    problems = []
    possible = [name for name, _, _ in features.items() if _can_be_crossed(features, name)]
    for position, name in enumerate(auto.features):
        where = f"crosses.auto.features.{position}"
        if name not in features.names:
            problems.append(f"{where}: {name!r} is not a feature. Known: {', '.join(possible)}")
        elif name not in possible:
            problems.append(f"{where}: {name!r} gives no ids ({features.get(name).type}). Name another feature")
        elif auto.features.index(name) != position:
            problems.append(f"{where}: {name!r} is named twice. Name it once")
    if not problems and len(candidates(features, auto)) < 2:
        problems.append("crosses.auto.features: fewer than two features can be crossed. Add features")
    numeric = [name for name in candidates(features, auto) if name in features.names and _is_numeric(features, name)]
    for name in numeric:
        for granularity in auto.granularities:
            there = derived_name(name, granularity)
            if there in features.names and features.get(there).type != "buckets":
                problems.append(f"crosses.auto.granularities: {granularity} makes a feature {there!r}. Rename that one")
    return problems


def with_granularities(features: FeaturesConfig, auto: AutoCrosses) -> tuple[FeaturesConfig, tuple[str, ...]]:
    """Puts quantile buckets behind the features for the numeric candidates.

    Returns:
        The features with those that the search needs, and the names of the candidates, all of which give ids.
    """
    sides = {"query": dict(features.query), "item": dict(features.item)}
    names = []
    for name in candidates(features, auto):
        feature = features.get(name)
        if not isinstance(feature, Numeric):
            names.append(name)
            continue
        for granularity in auto.granularities:
            derived = derived_name(name, granularity)
            sides[features.side_of(name)].setdefault(derived, buckets_of(feature, granularity))
            names.append(derived)
    return FeaturesConfig(query=sides["query"], item=sides["item"]), tuple(dict.fromkeys(names))


def families(features: FeaturesConfig, names: tuple[str, ...]) -> dict[str, str]:
    """What each candidate is a version of: crosses use one version of a thing at most.

    Buckets of one column are versions of its numbers, clusters of one column of what its text is about, the hour and
    the part of the day of the time of day; any other feature is a version of itself.
    """
    out = {}
    for name in names:
        feature = features.get(name)
        part = getattr(feature, "part", "")
        if feature.type == "buckets":
            out[name] = f"buckets of {features.side_of(name)} {feature.column}"
        elif isinstance(feature, Text) and feature.clusters is not None:
            out[name] = f"clusters of {features.side_of(name)} {feature.column}"
        elif part in ("hour", "part_of_day"):
            out[name] = f"time of day of {feature.column}"
        else:
            out[name] = name
    return out


def _is_numeric(features: FeaturesConfig, name: str) -> bool:
    return isinstance(features.get(name), Numeric)


def _can_be_crossed(features: FeaturesConfig, name: str) -> bool:
    return features.get(name).kind == "ids" or _is_numeric(features, name)
