"""Which columns of the tables a spec reads."""

from __future__ import annotations

from collections.abc import Iterable

from crossrec.components.example_gen.config import RawColumn
from crossrec.components.features.config import FeaturesConfig, RecentItems, raw_columns, raw_widths
from crossrec.pipeline.spec.spec import Spec


def item_columns(spec: Spec) -> tuple[RawColumn, ...]:
    """Columns of the items that features, lists and filters need."""
    return columns_of_items(spec.features, spec.shown_columns)


def columns_of_items(features: FeaturesConfig, shown: Iterable[str]) -> tuple[RawColumn, ...]:
    """Columns of the items that features need, and others as text.

    Args:
        features: All features.
        shown: Columns that lists show or that requests filter by.
    """
    kinds = dict(raw_columns(features, "item"))
    for column in shown:
        kinds.setdefault(column, "string")
    widths = raw_widths(features, "item")
    return tuple(RawColumn(name=name, kind=kind, width=widths.get(name)) for name, kind in kinds.items())


def interaction_columns(spec: Spec) -> tuple[RawColumn, ...]:
    """Columns of the interactions that features need."""
    computed = {f.column for f in spec.features.query.values() if isinstance(f, RecentItems)}
    kinds = {name: kind for name, kind in raw_columns(spec.features, "query").items() if name not in computed}
    if spec.data.interactions.position:
        kinds[spec.data.interactions.position] = "int"
    widths = raw_widths(spec.features, "query")
    return tuple(RawColumn(name=name, kind=kind, width=widths.get(name)) for name, kind in kinds.items())
