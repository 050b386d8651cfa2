"""What the text embedder needs to know of the spec."""

from __future__ import annotations

from crossrec.components.features.encodings import Encoding
from crossrec.components.features.frozen import Frozen


class TextEmbedderConfig(Frozen):
    """The columns to add.

    Attributes:
        encodings: Each column of numbers, and the column of texts that it is made of.
        seed: Of the clusters.
    """

    encodings: tuple[Encoding, ...]
    seed: int = 0
