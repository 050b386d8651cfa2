"""Which columns an encoder makes of texts: the same list in the pipeline and in the served graph."""

from __future__ import annotations

from collections.abc import Iterable

from crossrec.components.features.config import FeaturesConfig, Side, Text
from crossrec.components.features.frozen import Frozen


class Encoding(Frozen):
    """One column of numbers that is made of one column of texts.

    Attributes:
        side: Where both stand.
        column: The raw column of texts.
        encoder: Key of the encoder.
        encoded_column: The column that is added: floats, or the int64 id of a cluster; absent where the text is
            missing.
        dimension: Numbers in a vector of the encoder.
        clusters: The id is that of the nearest of so many centres; the column holds the vector itself if left out.
    """

    side: Side
    column: str
    encoder: str
    encoded_column: str
    dimension: int
    clusters: int | None = None


def encodings(features: FeaturesConfig) -> tuple[Encoding, ...]:
    """The columns that the features need, each once, in the order of the spec."""
    found: dict[Encoding, None] = {}
    for _, side, feature in features.items():
        if isinstance(feature, Text) and feature.encoder is not None:
            encoding = Encoding(
                side=side,
                column=feature.column,
                encoder=feature.encoder.key,
                encoded_column=feature.encoded_column,
                dimension=feature.encoder.dimension,
                clusters=feature.clusters,
            )
            found[encoding] = None
    return tuple(found)


def columns_by_encoder(found: Iterable[Encoding], side: Side) -> dict[str, tuple[str, ...]]:
    """The raw columns of one side that each encoder reads."""
    columns: dict[str, dict[str, None]] = {}
    for encoding in found:
        if encoding.side == side:
            columns.setdefault(encoding.encoder, {})[encoding.column] = None
    return {key: tuple(names) for key, names in columns.items()}
