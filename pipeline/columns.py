"""Which columns of the tables a spec reads."""

from __future__ import annotations

from crossrec.components.example_gen.config import RawColumn
from crossrec.components.features.config import RecentItems, raw_columns, raw_widths
from crossrec.pipeline.spec.spec import Spec


def item_columns(spec: Spec) -> tuple[RawColumn, ...]:
    """Columns of the items that features, lists and filters need."""
    kinds = dict(raw_columns(spec.features, "item"))
    for column in (*spec.serving.display, *spec.index.filters):
        kinds.setdefault(column, "string")
    widths = raw_widths(spec.features, "item")
    return tuple(RawColumn(name=name, kind=kind, width=widths.get(name)) for name, kind in kinds.items())


def interaction_columns(spec: Spec) -> tuple[RawColumn, ...]:
    """Columns of the interactions that features need."""
    computed = {f.column for f in spec.features.query.values() if isinstance(f, RecentItems)}
    kinds = {name: kind for name, kind in raw_columns(spec.features, "query").items() if name not in computed}
    if spec.data.interactions.position:
        kinds[spec.data.interactions.position] = "int"
    widths = raw_widths(spec.features, "query")
    return tuple(RawColumn(name=name, kind=kind, width=widths.get(name)) for name, kind in kinds.items())
