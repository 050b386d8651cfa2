"""Causal self-attention over the recent items, read at the most recent one.

Kang, McAuley: "Self-Attentive Sequential Recommendation", ICDM 2018.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from crossrec.components.modeling.interest.interest import SequenceConfig
from crossrec.components.modeling.interest.transformer import TransformerConfig


class AttentionConfig(SequenceConfig):
    """A causal Transformer whose encoding of the most recent item stands for the sequence.

    Attributes:
        type: Names this encoder in the spec.
        sequence: As in SequenceConfig.
        features: As in SequenceConfig.
        layers: Encoder layers.
        attention_heads: Attention heads of each layer.
        head_size: Size of a head's queries, keys and values.
        feed_forward: Units of the feed-forward network's hidden layer.
        dropout: Share of each sublayer's outputs dropped in training.
    """

    type: Literal["attention"] = "attention"
    layers: int = Field(default=1, ge=1, le=8)
    attention_heads: int = Field(default=2, ge=1, le=32)
    head_size: int = Field(default=16, ge=1, le=512)
    feed_forward: int = Field(default=64, ge=1, le=8192)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def of_layer(self) -> TransformerConfig:
        """The same for the layer that does it, which can also look at candidates."""
        return TransformerConfig(**{**self.model_dump(), "type": "transformer", "readout": "last"})
