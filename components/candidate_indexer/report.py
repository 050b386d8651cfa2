"""What an index is, and how much of exact search it finds."""

from __future__ import annotations

from typing import ClassVar, Literal

from crossrec.components.features.document import Document


class IndexReport(Document):
    """An index in figures.

    Attributes:
        type: How items are searched.
        items: Items of the catalogue.
        dimension: Numbers of an embedding.
        depth: Items that one search gives: K of ``recall``.
        recall: Mean share of the K best items by exact search that a search finds, on ``queries`` queries of users
            other than those that the number of probes was chosen on; 1 of an exact index.
        recall_target: Least recall.
        queries: Queries that recall was measured on; 0 of an exact index.
        partitions: How many there are; 0 of an exact index.
        capacity: Items of a partition at most.
        probes: Partitions that a search looks at in the mean.
        spread_weight: See Probing.
        rank: See Probing.
        margin: See Probing.
        seconds: Time to build the index and to measure it.
        bytes: Size of the index in the served model.
        filters: Columns that requests may filter by.
        inputs: Further inputs of a search.
    """

    FILE: ClassVar[str] = "index.json"

    type: Literal["exact", "partitioned"]
    items: int
    dimension: int
    depth: int
    recall: float = 1.0
    recall_target: float
    queries: int = 0
    partitions: int = 0
    capacity: int = 0
    probes: int = 0
    spread_weight: float = 0.0
    rank: int = 0
    margin: float = 0.0
    seconds: float = 0.0
    bytes: int = 0
    filters: tuple[str, ...] = ()
    inputs: tuple[Literal["k", "probes"], ...] = ()

    @property
    def metric(self) -> str:
        """Name of the recall among the figures of the evaluation."""
        return f"index/recall@{self.depth}"
