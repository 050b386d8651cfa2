"""What an exported encoder says of itself."""

from __future__ import annotations

from typing import ClassVar, Literal

from crossrec.components.features.document import Document


class EncoderReport(Document):
    """Written beside the SavedModel.

    Attributes:
        key: Short name of the configuration, ``TextEncoderConfig.key``.
        dimension: Numbers in a vector.
        digest: SHA-256 of what the function computes, weights included: equal digests give equal vectors.
        kind: ``pretrained`` or ``small``.
        weight_bytes: Size of the stored weights.
        training: Figures of the training by name; empty if there was none.
        models: Fingerprint of the pretrained files that it started from or learnt from; "" where there are none.
        kept_from: Version of the release that it was taken from unchanged; 0 where it was made in its own run.
    """

    FILE: ClassVar[str] = "encoder.json"

    key: str
    dimension: int
    digest: str
    kind: Literal["pretrained", "small"]
    weight_bytes: int
    training: dict[str, float] = {}
    models: str = ""
    kept_from: int = 0
