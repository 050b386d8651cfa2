"""Multi-task heads: how tasks share what the interactions give. One paper per file, one interface for all."""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import Field

from crossrec.components.modeling.heads.heads import Heads
from crossrec.components.modeling.heads.mmoe import MMoE, MMoEConfig
from crossrec.components.modeling.heads.ple import PLE, PLEConfig
from crossrec.components.modeling.heads.shared_bottom import SharedBottom, SharedBottomConfig

LAYERS: tuple[type[Heads], ...] = (SharedBottom, MMoE, PLE)
"""All heads that a spec can name."""

HeadsConfig = Annotated[Union[SharedBottomConfig, MMoEConfig, PLEConfig], Field(discriminator="type")]


def build(config: Any, tasks: int, **kwargs: Any) -> Heads:
    """The layer of a configuration, for that many tasks."""
    layer = next(layer for layer in LAYERS if isinstance(config, layer.CONFIG))
    return layer(config, tasks, **kwargs)
