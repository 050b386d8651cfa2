"""What of the index of an earlier catalogue holds for a newer one, as long as the towers are the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossrec.components.candidate_indexer.build import read_partitions
from crossrec.components.candidate_indexer.divide import FormerPartitions
from crossrec.components.candidate_indexer.index import read_embeddings
from crossrec.components.features.item_table import Array, ItemTable, differing_rows, former_rows
from crossrec.components.progress import progress
from crossrec.components.retrieval_trainer.model import RetrievalModel


@dataclass(frozen=True)
class FormerIndex:
    """The index of an earlier catalogue.

    Attributes:
        embeddings: float32 ``[M + 1, D]``, the last row the unknown item.
        rows: int64 ``[N]``, the row there of each item of the newer catalogue; -1 for items that are new, changed or
            gone, which have other embeddings.
        partitions: Where the items lay; None where they were searched exactly.
    """

    embeddings: Array
    rows: Array
    partitions: FormerPartitions | None

    def embed(self, model: RetrievalModel) -> Array:
        """Embeddings of the newer catalogue, float32 ``[N + 1, D]``: the former ones where they hold."""
        known, others = np.flatnonzero(self.rows >= 0), np.flatnonzero(self.rows < 0)
        progress(f"embedding {len(others):,} of {len(self.rows):,} items anew")
        out = np.empty((len(self.rows) + 1, self.embeddings.shape[1]), np.float32)
        out[known] = self.embeddings[self.rows[known]]
        out[-1] = self.embeddings[-1]
        out[others] = model.embed_catalogue(others)
        return out


def read_former(directory: str, before: ItemTable, now: ItemTable) -> FormerIndex:
    """Reads the index of an earlier catalogue.

    Args:
        directory: Where the CandidateIndexer wrote it.
        before: Its item table.
        now: The newer one, transformed by the same graph.
    """
    rows = former_rows(before, now)
    same = np.flatnonzero(rows >= 0)
    for name, values in now.features.items():
        same = same[~differing_rows(values, same, before.features[name], rows[same])]
    kept = np.full_like(rows, -1)
    kept[same] = rows[same]
    parts = read_partitions(directory)
    return FormerIndex(
        read_embeddings(directory, served=True), kept, None if parts is None else FormerPartitions(parts, kept)
    )
