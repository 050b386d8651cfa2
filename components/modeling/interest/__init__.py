"""Sequence interest: what a user's recent items say about candidates. One paper per file, one interface for all."""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import Field

from crossrec.components.modeling.interest.average import Average, AverageConfig
from crossrec.components.modeling.interest.din import DIN, DINConfig
from crossrec.components.modeling.interest.interest import Interest
from crossrec.components.modeling.interest.lstm import LSTM, LSTMConfig
from crossrec.components.modeling.interest.transformer import Transformer, TransformerConfig

LAYERS: tuple[type[Interest], ...] = (DIN, Transformer, LSTM, Average)
"""Every interest that a spec can name."""

InterestConfig = Annotated[Union[DINConfig, TransformerConfig, LSTMConfig, AverageConfig], Field(discriminator="type")]


def build(config: Any, **kwargs: Any) -> Interest:
    """The layer of a configuration."""
    layer = next(layer for layer in LAYERS if isinstance(config, layer.CONFIG))
    return layer(config, **kwargs)
