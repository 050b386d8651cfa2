"""The ``serving`` section of the spec."""

from __future__ import annotations

from pydantic import Field

from crossrec.components.features.frozen import Frozen


class ServingConfig(Frozen):
    """What is served, under which name.

    Attributes:
        model_name: The model's name for TensorFlow Serving, and its directory below the serving root.
        list_size: Items that ``recommend`` returns.
        candidates: Items that retrieval hands to ranking, and that ``retrieve`` returns.
        display: Columns of the items that ``recommend`` returns beside the ids.
        golden_requests: Recorded requests with their answers, for checks before a release.
    """

    model_name: str = Field(default="recommender", pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$")
    list_size: int = Field(default=20, ge=1, le=10_000)
    candidates: int = Field(default=200, ge=1, le=100_000)
    display: tuple[str, ...] = ()
    golden_requests: int = Field(default=16, ge=1, le=1000)
