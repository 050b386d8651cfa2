"""What a server showed, for the person who wants to know why a bundle was refused."""

from __future__ import annotations

from typing import ClassVar

from tfx.dsl.io import fileio

from crossrec.components.blessing import INFRA_NOT_BLESSED
from crossrec.components.features.document import Document
from crossrec.components.features.frozen import Frozen
from crossrec.components.serving_check.config import ServingCheckConfig


def count_refusals(artifacts: str) -> int:
    """Counts the checks below a pipeline root that refused a bundle.

    Args:
        artifacts: The pipeline root.
    """
    return len(fileio.glob(f"{artifacts}/ServingCheck/blessing/*/{INFRA_NOT_BLESSED}"))


class GoldenAnswer(Frozen):
    """One golden request and its answer.

    Attributes:
        number: Place in the bundle's file, from 1.
        signature: Signature that was asked.
        deviation: Largest ``|answered - recorded| / (1 + |recorded|)`` of a float; None without comparable floats.
        problems: What differs beyond the tolerance; empty if nothing does.
    """

    number: int
    signature: str
    deviation: float | None
    problems: tuple[str, ...] = ()


class Latency(Frozen):
    """What was measured.

    Attributes:
        requests: Requests that were sent.
        errors: How many of these failed.
        p50_ms: Median in milliseconds, of those that were answered.
        p99_ms: 99th percentile in milliseconds.
    """

    requests: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None


class Report(Document):
    """The whole check.

    Attributes:
        failures: Why the bundle is not blessed; empty if it is.
        server: Which server was started; empty if none was.
        version: The version that the server had loaded; 0 if none.
        load_seconds: From the start of the server, or from when one that was started ahead was shown the bundle, until
            it was loaded; None if it was not.
        golden: The golden requests that were asked.
        latency: What was measured; None if nothing was.
        config: What was asked for.
    """

    FILE: ClassVar[str] = "serving_check.json"

    failures: tuple[str, ...]
    server: str = ""
    version: int = 0
    load_seconds: float | None = None
    golden: tuple[GoldenAnswer, ...] = ()
    latency: Latency | None = None
    config: ServingCheckConfig

    @property
    def blessed(self) -> bool:
        """Whether the bundle may be published."""
        return not self.failures

    @property
    def worst_deviation(self) -> float | None:
        """The largest deviation of all golden answers; None if none could be compared."""
        return max((one.deviation for one in self.golden if one.deviation is not None), default=None)
