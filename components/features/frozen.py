"""The base of every configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A configuration: immutable, and closed to keys that it does not know."""

    # Infinity is a bound like any other (``clip: [0, .inf]``), and must survive the way through JSON.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")
