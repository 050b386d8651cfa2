"""Causal self-attention over the recent items, read at the most recent one.

Kang, McAuley: "Self-Attentive Sequential Recommendation", ICDM 2018.
"""

from __future__ import annotations

from typing import Literal

from crossrec.components.modeling.interest.transformer import EncoderConfig, TransformerConfig


class AttentionConfig(EncoderConfig):
    """A causal Transformer whose encoding of the most recent item stands for the sequence.

    Attributes:
        type: Names this encoder in the spec.
    """

    type: Literal["attention"] = "attention"

    def of_layer(self) -> TransformerConfig:
        """The same for the layer that does it, which can also look at candidates."""
        return TransformerConfig(**{**self.model_dump(), "type": "transformer", "readout": "last"})
