"""The ``beam`` section of the spec: the options of Beam, for all nodes and for single ones.

They are Beam's own, and Beam checks them: ``--runner=FlinkRunner``, ``--direct_num_workers=4`` and the like.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

BEAM_NODES = (
    "ItemsExampleGen",
    "InteractionsExampleGen",
    "ItemsStatisticsGen",
    "InteractionsStatisticsGen",
    "TextEncoder",
    "TextEmbedder",
    "FeatureTransform",
    "CrossSelector",
    "RankingExamples",
)
"""The nodes that run a Beam pipeline."""

ALL = "all"
DEFAULT = ("--runner=DirectRunner", "--direct_running_mode=in_memory", "--direct_num_workers=1")
"""One process, which is quickest where the data are small."""

Argument = Annotated[str, Field(pattern=r"^--[a-z]")]
BeamConfig = dict[str, tuple[Argument, ...]]
"""Options by node id, and under ``all`` those of every node, in place of DEFAULT."""


def of_all(config: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The options of every node."""
    return list(config.get(ALL, DEFAULT))


def of_node(config: Mapping[str, tuple[str, ...]], node: str) -> list[str]:
    """The options of one node that come behind those of every node; of two that differ in value the later counts."""
    return list(config.get(node, ()))


def check_beam(config: Mapping[str, tuple[str, ...]]) -> Iterable[str]:
    """Problems of the section: one line each, with field, value and mend."""
    for name in config:
        if name != ALL and name not in BEAM_NODES:
            yield f"beam.{name}: no node of that name runs Beam. Known: {ALL}, {', '.join(BEAM_NODES)}"
