"""Interaction layers: how the fields of an example meet. One paper per file, one interface for all."""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import Field

from crossrec.components.modeling.interactions.auto_int import AutoInt, AutoIntConfig
from crossrec.components.modeling.interactions.cin import XDeepFM, XDeepFMConfig
from crossrec.components.modeling.interactions.dcn_v2 import DCNV2, DCNV2Config
from crossrec.components.modeling.interactions.deep_fm import DeepFM, DeepFMConfig
from crossrec.components.modeling.interactions.fibinet import FiBiNET, FiBiNETConfig
from crossrec.components.modeling.interactions.final_mlp import FinalMLP, FinalMLPConfig
from crossrec.components.modeling.interactions.final_net import FinalNet, FinalNetConfig
from crossrec.components.modeling.interactions.fm import FM, FMConfig
from crossrec.components.modeling.interactions.fmfm import FmFM, FmFMConfig
from crossrec.components.modeling.interactions.fwfm import FwFM, FwFMConfig
from crossrec.components.modeling.interactions.gdcn import GDCN, GDCNConfig
from crossrec.components.modeling.interactions.interaction import Interaction
from crossrec.components.modeling.interactions.masknet import MaskNet, MaskNetConfig
from crossrec.components.modeling.interactions.mlp import MLP, MLPConfig
from crossrec.components.modeling.interactions.tf4ctr import TF4CTR, TF4CTRConfig

LAYERS: tuple[type[Interaction], ...] = (
    MLP,
    FM,
    FwFM,
    FmFM,
    DeepFM,
    DCNV2,
    XDeepFM,
    AutoInt,
    FiBiNET,
    MaskNet,
    GDCN,
    FinalMLP,
    FinalNet,
    TF4CTR,
)
"""Every interaction that a spec can name."""

InteractionConfig = Annotated[
    Union[
        MLPConfig,
        FMConfig,
        FwFMConfig,
        FmFMConfig,
        DeepFMConfig,
        DCNV2Config,
        XDeepFMConfig,
        AutoIntConfig,
        FiBiNETConfig,
        MaskNetConfig,
        GDCNConfig,
        FinalMLPConfig,
        FinalNetConfig,
        TF4CTRConfig,
    ],
    Field(discriminator="type"),
]


def build(config: Any, **kwargs: Any) -> Interaction:
    """The layer of a configuration."""
    layer = next(layer for layer in LAYERS if isinstance(config, layer.CONFIG))
    return layer(config, **kwargs)
