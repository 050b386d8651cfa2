"""Clusters of the release that a run starts from."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping

from pydantic import ValidationError
from tfx.dsl.io import fileio

from crossrec.components.features.item_table import Array
from crossrec.components.modeling.warm_start import PreviousRelease
from crossrec.components.text.report import EncoderReport
from crossrec.components.text_embedder.clusters import centres_path, read_centres


def former_centres(previous: PreviousRelease, digests: Mapping[str, str]) -> Callable[[str, int], Array | None]:
    """Looks up the centres that a release has of texts, as long as its encoder is that of this run.

    Args:
        previous: The release.
        digests: Digest of what each encoder of this run computes, by its key.

    Returns:
        From the key of an encoder and the number of clusters to the centres, float32 ``[K, dimension]``; None where
        the release has none that mean the same.
    """

    def look_up(key: str, count: int) -> Array | None:
        if not {"text_encoders", "text_embeddings"} <= set(previous.artifacts):
            return None
        path = centres_path(previous.artifacts["text_embeddings"], key, count)
        encoder = posixpath.join(previous.artifacts["text_encoders"], key)
        if not fileio.exists(path) or not fileio.exists(posixpath.join(encoder, EncoderReport.FILE)):
            return None
        try:
            former = EncoderReport.read(encoder).digest
        except ValidationError:
            return None  # Written by another version of this program.
        return read_centres(path) if former == digests[key] else None

    return look_up
