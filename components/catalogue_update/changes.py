"""What differs between two catalogues, as the models and the answers see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from crossrec.components.features.document import Document
from crossrec.components.features.item_table import ItemTable, differing_rows, former_rows

_NAMED = 5


class CatalogueChanges(Document):
    """A catalogue in figures, beside the one that is served.

    Attributes:
        items: Items of the newer catalogue.
        new: Items that only it has.
        removed: Items that only the served one has.
        changed: Items of both of which a feature or a shown column differs.
        columns: Of these, how many differ in each feature and shown column, where any does.
        examples: A few ids of each kind: ``new``, ``removed``, ``changed``.
    """

    FILE: ClassVar[str] = "catalogue_changes.json"

    items: int
    new: int = 0
    removed: int = 0
    changed: int = 0
    columns: Mapping[str, int] = {}
    examples: Mapping[str, tuple[str, ...]] = {}

    @property
    def none(self) -> bool:
        """Whether nothing differs."""
        return not (self.new or self.removed or self.changed)

    def __str__(self) -> str:
        """What people are told."""
        told = f"{self.items:,} items: {self.new:,} new, {self.removed:,} removed, {self.changed:,} changed"
        if self.columns:
            told += f" ({', '.join(f'{name} of {count:,}' for name, count in self.columns.items())})"
        return told


def compare(before: ItemTable, now: ItemTable) -> CatalogueChanges:
    """Compares the catalogue that is served with a newer one.

    Args:
        before: The one that is served.
        now: The newer one, transformed by the same graph.
    """
    places = former_rows(before, now)
    present, served = now.present, before.present
    both = present[places[present] >= 0]
    new = present[places[present] < 0]
    removed = np.setdiff1d(served, places[both], assume_unique=True)
    columns = {
        name: differing_rows(values, both, before.features[name], places[both])
        for name, values in now.features.items()
        if name in before.features
    }
    shown = [name for name in now.display if name in before.display and name not in columns]
    columns |= {name: now.display[name][both] != before.display[name][places[both]] for name in shown}
    changed = both[np.any([*columns.values(), np.zeros(len(both), np.bool_)], axis=0)]
    examples = {"new": now.ids[new], "removed": before.ids[removed], "changed": now.ids[changed]}
    return CatalogueChanges(
        items=len(present),
        new=len(new),
        removed=len(removed),
        changed=len(changed),
        columns={name: int(rows.sum()) for name, rows in columns.items() if rows.any()},
        examples={kind: tuple(ids[:_NAMED]) for kind, ids in examples.items() if len(ids)},
    )
