"""The ``beam`` section of the spec: the options of Beam, for all nodes and for single ones.

They are Beam's own, and Beam checks them: ``--runner=FlinkRunner``, ``--direct_num_workers=4`` and the like.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
Argument = Annotated[str, Field(pattern=r"^--[a-z]")]
BeamConfig = dict[str, tuple[Argument, ...]]
"""Options by node id, and under ``all`` those of every node. Without any, a pipeline runs in one process (Beam's
direct runner), which is quickest where the data are small."""

# TFX packs its own sources for the workers wherever there are options and no image: seconds, and 49 MB left behind in
# the temporary folder, by each node. Workers of this machine have them, and read no image.
_NOTHING_TO_PACK = "--sdk_container_image=none"


def arguments(config: Mapping[str, tuple[str, ...]], node: str) -> list[str]:
    """The options of a node: those of all, then its own; of two that differ in value Beam takes the later."""
    given = [*config.get(ALL, ()), *config.get(node, ())]
    return given if not given or is_remote(given) else [*given, _NOTHING_TO_PACK]


def is_remote(options: Sequence[str]) -> bool:
    """Whether Beam's workers are not processes of the node's own machine."""
    return not runner(options).lower().startswith("direct")


def runner(options: Sequence[str]) -> str:
    """Name of the runner that options choose."""
    named = [option.partition("=")[2] for option in options if option.startswith("--runner=")]
    return named[-1] if named else "DirectRunner"


def check_beam(config: Mapping[str, tuple[str, ...]]) -> Iterable[str]:
    """Problems of the section: one line each, with field, value and mend."""
    for name in config:
        if name != ALL and name not in BEAM_NODES:
            yield f"beam.{name}: no node of that name runs Beam. Known: {ALL}, {', '.join(BEAM_NODES)}"
