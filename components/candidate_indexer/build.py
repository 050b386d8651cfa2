"""Building an index of the catalogue: the kind, the partitions, the probes, the measured recall."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping

import numpy as np
from tfx.dsl.io import fileio

from crossrec.components.candidate_indexer.config import IndexConfig
from crossrec.components.candidate_indexer.divide import IndexedItems, divide
from crossrec.components.candidate_indexer.filters import Filters
from crossrec.components.candidate_indexer.index import ExactIndex, read_embeddings
from crossrec.components.candidate_indexer.partitioned import PartitionedIndex
from crossrec.components.candidate_indexer.partitions import Partitions
from crossrec.components.candidate_indexer.probing import Probing
from crossrec.components.candidate_indexer.report import IndexReport
from crossrec.components.candidate_indexer.tuning import best_items, choose_probing, nearest, recall
from crossrec.components.errors import DataError
from crossrec.components.features.item_table import Array
from crossrec.components.progress import progress

# Below, scoring everything is as fast as choosing what to score.
PARTITION_FROM = 30_000
# Above, a search by partitions is hardly faster, for twice the memory.
_MOST_PROBES = 0.25
_PARTITIONS = "partitions.npz"


def always_exact(config: IndexConfig, items: int) -> bool:
    """Whether a catalogue of so many items is searched exactly, whatever its queries are."""
    return config.type == "exact" or (config.type == "auto" and items < PARTITION_FROM)


def build_index(
    items: IndexedItems, queries: Array, users: Array, config: IndexConfig, depth: int
) -> tuple[IndexReport, Partitions | None]:
    """Chooses kind, partitions and probes, and measures recall.

    Args:
        items: What is searched.
        queries: float32 ``[Q, D]``, embeddings of real queries.
        users: ``[Q]``, whose queries they are.
        config: The ``index`` section of the spec.
        depth: Items that a search gives.

    Returns:
        The report, and the partitions where the index has some.

    Raises:
        DataError: Partitions are asked for, and there are not two users to choose and to measure on.
    """
    started = time.perf_counter()
    embeddings, count = items.embeddings, len(items.present)
    plain = IndexReport(
        type="exact",
        items=count,
        dimension=embeddings.shape[1],
        depth=min(depth, count),
        recall_target=config.recall_target,
        bytes=embeddings.nbytes,
        filters=config.filters,
        inputs=config.inputs,
    )
    if always_exact(config, count):
        return plain.model_copy(update={"seconds": time.perf_counter() - started}), None
    # A user's queries are alike: those of one user never stand on both sides.
    own, of = np.unique(users, return_inverse=True)
    if len(own) < 2:
        raise DataError(
            "index.type",
            f"partitioned, but the validation split has queries of {len(own)} users",
            "Let it begin earlier, or use 'exact'.",
        )
    tuning, held_out = of % 2 == 0, of % 2 == 1
    parts = divide(items, config)
    progress(f"{len(parts.members):,} partitions; choosing probes on {tuning.sum():,} queries")
    truth = best_items(embeddings, items.present, queries, plain.depth)
    probing = choose_probing(parts, queries[tuning], users[tuning], truth[tuning], config.recall_target)
    if config.type == "auto" and probing.probes > _MOST_PROBES * len(parts.members):
        progress(f"{probing.probes:,.0f} of {len(parts.members):,} partitions would be read: exact search is faster")
        return plain.model_copy(update={"seconds": time.perf_counter() - started}), None
    index = PartitionedIndex(ExactIndex(embeddings, removed=items.removed), parts, probing, embeddings)
    measured = recall(nearest(index, queries[held_out], plain.depth), truth[held_out])
    progress(f"{probing.probes:,.1f} probes; recall@{plain.depth} {measured:.4f} on {held_out.sum():,} other queries")
    report = plain.model_copy(
        update={
            "type": "partitioned",
            "recall": measured,
            "queries": int(held_out.sum()),
            "partitions": len(parts.members),
            "capacity": parts.members.shape[1],
            "probes": int(np.ceil(probing.probes)),
            "spread_weight": probing.spread_weight,
            "rank": probing.rank,
            "margin": probing.margin,
            "bytes": embeddings.nbytes + index.bytes,
            "seconds": time.perf_counter() - started,
        }
    )
    return report, parts


def write_partitions(directory: str, partitions: Partitions) -> None:
    """Writes partitions into the directory of an index."""
    buffer = io.BytesIO()
    np.savez(buffer, members=partitions.members, centres=partitions.centres, spreads=partitions.spreads)
    with fileio.open(f"{directory}/{_PARTITIONS}", "wb") as file:
        file.write(buffer.getvalue())


def read_partitions(directory: str) -> Partitions | None:
    """The partitions of an index; None if it has none."""
    path = f"{directory}/{_PARTITIONS}"
    if not fileio.exists(path):
        return None
    with fileio.open(path, "rb") as file, np.load(io.BytesIO(file.read())) as arrays:
        return Partitions(arrays["members"], arrays["centres"], arrays["spreads"])


def load_index(
    directory: str, columns: Mapping[str, Array], removed: Array | None = None
) -> ExactIndex | PartitionedIndex:
    """The index to serve.

    Args:
        directory: Where the CandidateIndexer wrote it.
        columns: Columns of the items ``{name: [N]}`` of str; those that the index filters by are among them.
        removed: Items that are never found, bool ``[N]``; none if left out.
    """
    report = IndexReport.read(directory)
    embeddings = read_embeddings(directory, served=True)
    exact = ExactIndex(embeddings, Filters({name: columns[name] for name in report.filters}), removed)
    parts = read_partitions(directory)
    if parts is None:
        return exact
    probing = Probing(report.probes, report.spread_weight, report.rank, report.margin)
    return PartitionedIndex(exact, parts, probing, embeddings)
