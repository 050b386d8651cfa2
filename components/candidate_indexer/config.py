"""The ``index`` section of the spec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from crossrec.components.features.frozen import Frozen


class IndexConfig(Frozen):
    """How the catalogue is searched, and what requests may ask of the search.

    Attributes:
        type: ``exact`` scores all items; ``partitioned`` those of the most promising partitions; ``auto`` takes the
            one that is faster for as many items.
        recall_target: Least share of the ``candidates`` best items that a partitioned search finds, on queries of the
            validation split; below it nothing is published.
        queries: Validation queries at most, one half to choose the number of probes, the other to measure recall.
        filters: Text columns of the items. Requests narrow the search by an input ``filter_<column>`` of accepted
            values, all if it is empty; an item must pass all filters.
        inputs: Further inputs of ``recommend`` and ``retrieve``, where 0 stands for the default: ``k``, the items
            wanted, at most as many as there are without it; ``probes``, the partitions to look at.
        seed: Of the samples from which partitions are made.
    """

    type: Literal["auto", "exact", "partitioned"] = "auto"
    recall_target: float = Field(default=0.95, gt=0, le=1)
    queries: int = Field(default=1024, ge=2, le=100_000)
    filters: tuple[str, ...] = ()
    inputs: tuple[Literal["k", "probes"], ...] = ()
    seed: int = 0
