"""Pretrained encoders of the features, looked at before anything runs."""

from __future__ import annotations

from crossrec.components.features.config import FeaturesConfig
from crossrec.components.text_encoder.config import encoder_uses


def check_encoders(features: FeaturesConfig) -> None:
    """Reads what the directories of pretrained encoders say of themselves.

    Args:
        features: The features of the spec.

    Raises:
        DataError: One is not there, or holds no encoder that works here.
    """
    for use in encoder_uses(features):
        for field, path in use.pretrained:
            # TensorFlow is not asked for where no encoder is.
            from crossrec.components.text.directory import automatic_pooling, read_directory

            read_directory(path, field)
            if use.encoder.pooling == "auto":
                automatic_pooling(path, f"{use.field}.pooling")
