"""Partitions for a catalogue: made anew, or those of an earlier one where little has changed since."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crossrec.components.candidate_indexer.config import IndexConfig
from crossrec.components.candidate_indexer.partitions import Partitions, capacity_for, partition, reassign
from crossrec.components.features.item_table import Array
from crossrec.components.progress import progress

# Above, centres that were made for other items cost more probes than making new ones costs once.
_MOST_FRESH, _MOST_LOST, _MOST_FILLED = 0.1, 0.3, 0.98


@dataclass(frozen=True)
class FormerPartitions:
    """The partitions of an earlier catalogue.

    Attributes:
        partitions: Where its items lay.
        rows: int64 ``[N]``, the row there of each item of this catalogue; -1 for those whose embeddings are others.
    """

    partitions: Partitions
    rows: Array


@dataclass(frozen=True)
class IndexedItems:
    """What is searched.

    Attributes:
        embeddings: float32 ``[N + 1, D]``, the last row the unknown item.
        removed: Items that are never found, bool ``[N]``; None where there are none.
        former: Partitions to go on from, if there are any.
    """

    embeddings: Array
    removed: Array | None = None
    former: FormerPartitions | None = None

    @property
    def present(self) -> Array:
        """The rows that a search may find, int64, ascending."""
        count = len(self.embeddings) - 1
        return np.arange(count) if self.removed is None else np.flatnonzero(~self.removed)


def divide(items: IndexedItems, config: IndexConfig) -> Partitions:
    """Divides the items that a search may find into partitions."""
    present = items.present
    embeddings = items.embeddings[:-1] if len(present) == len(items.embeddings) - 1 else items.embeddings[present]
    again = None if items.former is None else _again(items.former, embeddings, present)
    if again is None:
        progress(f"dividing {len(present):,} items into partitions")
        again = partition(embeddings, capacity_for(len(present)), seed=config.seed)
    rows = np.where(again.members < 0, -1, present[np.maximum(again.members, 0)])
    return replace(again, members=rows.astype(np.int32))


def _again(former: FormerPartitions, embeddings: Array, present: Array) -> Partitions | None:
    """The former partitions with the items of today, by their places among ``present``; None where too much is new."""
    members = former.partitions.members
    held = np.flatnonzero(members.reshape(-1) >= 0)
    # One more, which no partition holds, for rows of -1.
    part = np.full(max(int(members.max(initial=-1)), int(former.rows.max(initial=-1))) + 2, -1, np.int32)
    part[members.reshape(-1)[held]] = held // members.shape[1]
    leaves = part[former.rows[present]]
    fresh = int((leaves < 0).sum())
    lost = len(held) - (len(present) - fresh)
    too_much = fresh > _MOST_FRESH * len(present) or lost > _MOST_LOST * len(held)
    if too_much or len(present) > _MOST_FILLED * members.size:
        return None
    progress(f"{fresh:,} of {len(present):,} items are put into the partitions that there are")
    return reassign(embeddings, leaves, former.partitions)
