"""What embedding the texts took, written beside the centres of their clusters."""

from __future__ import annotations

from typing import ClassVar

from crossrec.components.features.document import Document
from crossrec.components.features.frozen import Frozen


class EncoderFigures(Frozen):
    """The texts of one encoder.

    Attributes:
        encoder: Its key.
        digest: Digest of what it computes; the name of its folder in the cache.
        texts: Different texts of items and interactions.
        computed: Those that were embedded.
        from_cache: Those whose vectors earlier runs had left.
        damaged_files: Files of the cache that did not hold what was written; their texts were embedded again.
        seconds: What the encoder took, all workers together.
    """

    encoder: str
    digest: str
    texts: int = 0
    computed: int = 0
    from_cache: int = 0
    damaged_files: int = 0
    seconds: float = 0.0


class EmbeddingReport(Document):
    """All encoders of a run.

    Attributes:
        encoders: One after the other.
        rows: Examples that got columns.
        seconds: What the component took.
    """

    FILE: ClassVar[str] = "embeddings.json"

    encoders: tuple[EncoderFigures, ...]
    rows: int = 0
    seconds: float = 0.0
