"""The ``serving.check`` section of the spec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from crossrec.components.features.frozen import Frozen


class ServingCheckConfig(Frozen):
    """What a bundle must show on a server before it is published.

    Attributes:
        server: ``binary`` (TensorFlow Serving on PATH), ``docker`` (its image), ``local`` (crossrec's own), or ``auto``
            for the first of these that the machine has.
        requests: Requests that are measured, in turn from the golden ones; 0 measures nothing.
        warm_up_requests: Requests before these that are not measured.
        concurrency: Requests that are under way at the same time.
        p50_ms: Limit for the median latency in milliseconds, as a client on the same machine sees it; none if left out.
        p99_ms: The same for the 99th percentile.
        tolerance: Largest difference of a float to its recorded value, absolute and relative.
        load_timeout_seconds: Time for the server to start and to load the bundle.
        call_timeout_seconds: Deadline of a request.
    """

    server: Literal["auto", "binary", "docker", "local"] = "auto"
    requests: int = Field(default=200, ge=0, le=1_000_000)
    warm_up_requests: int = Field(default=20, ge=0, le=1_000_000)
    concurrency: int = Field(default=1, ge=1, le=256)
    p50_ms: float | None = Field(default=None, gt=0)
    p99_ms: float | None = Field(default=None, gt=0)
    tolerance: float = Field(default=1e-4, ge=0)
    load_timeout_seconds: float = Field(default=600.0, gt=0)
    call_timeout_seconds: float = Field(default=30.0, gt=0)
