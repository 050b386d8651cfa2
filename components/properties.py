"""Artifacts and execution properties, as executors use them."""

from __future__ import annotations

from collections.abc import Mapping

from tfx import types
from tfx.types import artifact_utils

Artifacts = Mapping[str, list[types.Artifact]]

INPUT_FINGERPRINT, TRAINED_UNTIL = "input_fingerprint", "trained_until"
"""Custom properties of interactions and of bundles: of which data they are, and the first second behind training."""

ENCODED_BY = "encoded_by"
"""Custom property of examples with columns made of texts: as JSON the digest of what made each of these columns."""

CATALOGUE, MODELS_FROM = "catalogue", "models_from"
"""Custom properties of item tables and of bundles with a catalogue that no model was trained with: of which files it
is, and of which version the models are."""


def uri(artifacts: Artifacts, name: str) -> str:
    """The URI of the one artifact of that name."""
    return str(artifact_utils.get_single_instance(artifacts[name]).uri)


def split_patterns(examples: types.Artifact) -> dict[str, str]:
    """File pattern of each split of an Examples artifact."""
    return {
        split: f"{artifact_utils.get_split_uri([examples], split)}/*"
        for split in artifact_utils.decode_split_names(examples.split_names)
    }
