"""The record that a unit was served by an arm."""

from __future__ import annotations

import json
from typing import NamedTuple


class Exposure(NamedTuple):
    """One request that an experiment routed.

    Attributes:
        experiment: Name of the experiment.
        arm: Arm that the unit was assigned to, whatever answered.
        unit: What was assigned, such as a user id.
        time: Unix time of the answer or the error, in seconds.
        allocation: The shares of the arms then, and the salt, see `Experiment.allocation`.
        model_version: Version that answered; 0 where none did.
        fallback: Whether the client's fallback answered.
        error: Name of the status code or exception that the caller got; empty for an answer.
        request_id: The caller's own id of the request; empty without one.
    """

    experiment: str
    arm: str
    unit: str
    time: float
    allocation: str
    model_version: int = 0
    fallback: bool = False
    error: str = ""
    request_id: str = ""

    def line(self) -> str:
        """Write it as one line of JSON, ASCII only; what is empty is left out."""
        fields = {name: value for name, value in self._asdict().items() if value or name == "model_version"}
        return json.dumps(fields, separators=(",", ":"))
