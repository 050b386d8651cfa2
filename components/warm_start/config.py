"""The ``warm_start`` section of the spec."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crossrec.components.features.frozen import Frozen


class WarmStartConfig(Frozen):
    """Where a run starts from.

    Attributes:
        release: The number of a release, or ``last``: the last one that was blessed and published.
        epochs: Most epochs of a training that starts warm; those of its ``training`` section if left out.
        text_encoders: ``keep`` takes encoders of texts, and centres of clusters, unchanged from the release where their
            configuration is the same; ``train`` makes them anew in each run.
    """

    release: Literal["last"] | Annotated[int, Field(ge=1)] = "last"
    epochs: int | None = Field(default=None, ge=1, le=10_000)
    text_encoders: Literal["keep", "train"] = "keep"
