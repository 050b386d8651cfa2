"""Interaction layers: how the fields of an example meet. One paper per file, one interface for all."""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import Field

from crossrec.components.modeling.interactions.dcn_v2 import DCNV2, DCNV2Config
from crossrec.components.modeling.interactions.interaction import Interaction
from crossrec.components.modeling.interactions.mlp import MLP, MLPConfig

LAYERS: tuple[type[Interaction], ...] = (DCNV2, MLP)
"""Every interaction that a spec can name."""

InteractionConfig = Annotated[Union[DCNV2Config, MLPConfig], Field(discriminator="type")]


def build(config: Any, **kwargs: Any) -> Interaction:
    """The layer of a configuration."""
    layer = next(layer for layer in LAYERS if isinstance(config, layer.CONFIG))
    return layer(config, **kwargs)
