"""The vectors of a newer catalogue's texts, by the encoders that the run had."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.encodings import encodings
from crossrec.components.text_embedder.table import with_encoded_columns


def with_texts(items: pa.Table, features: FeaturesConfig, artifacts: Mapping[str, str], cache: str) -> pa.Table:
    """Adds the columns that the item graph reads in the place of texts.

    Args:
        items: The raw catalogue.
        features: The features of the run.
        artifacts: Directories of ``text_encoders`` and ``text_embeddings``, where a feature has an encoder.
        cache: Root of the vectors that earlier runs have embedded: only changed texts are embedded again.
    """
    own = [encoding for encoding in encodings(features) if encoding.side == "item"]
    return with_encoded_columns(items, own, artifacts, cache)
