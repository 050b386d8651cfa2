"""Encoders of the release that a run starts from: kept as they are, so that texts have the vectors they had."""

from __future__ import annotations

import posixpath

import tensorflow as tf
from pydantic import ValidationError
from tfx.utils import io_utils

from crossrec.components.modeling.warm_start import PreviousRelease
from crossrec.components.progress import progress
from crossrec.components.text.report import EncoderReport
from crossrec.components.text_encoder.config import EncoderUse
from crossrec.components.text_encoder.fingerprint import fingerprint_of


def keep(previous: PreviousRelease, use: EncoderUse, directory: str) -> bool:
    """Copies the release's encoder of the same configuration and the same pretrained files, if it has one.

    Args:
        previous: The release.
        use: The encoder that is wanted.
        directory: Where it is written.

    Returns:
        Whether it was there.
    """
    key = use.encoder.key
    if "text_encoders" not in previous.artifacts:
        return False
    former = posixpath.join(previous.artifacts["text_encoders"], key)
    try:
        report = EncoderReport.read(former)
    except (OSError, tf.errors.NotFoundError, ValidationError):
        progress(f"text encoder {key}: version {previous.version} has none of this configuration that can be read")
        return False
    if report.models != fingerprint_of([use]):
        progress(f"text encoder {key}: its pretrained files are others than those of version {previous.version}")
        return False
    io_utils.copy_dir(former, directory)
    report.model_copy(update={"kept_from": previous.version}).write(directory)
    progress(f"text encoder {key}: kept from version {previous.version}")
    return True
