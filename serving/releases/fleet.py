"""Which servers a state is for, how they see the models, and what a version must prove before it gets a label."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossrec.serving.releases.errors import InvalidStateError, UsageError

_DNS = "dns:///"


@dataclass(frozen=True)
class Limits:
    """What a version must prove on every replica before a label moves to it.

    Attributes:
      load_timeout_seconds: Time for a version to become AVAILABLE. TensorFlow Serving tries a failing load six
        times at intervals of a minute by default.
      call_timeout_seconds: Deadline of one request to a replica.
      requests: Requests for the figures below, in turn from the golden and the recorded ones; 0 measures nothing.
      p99_ms: Limit for the 99th percentile of the latency in milliseconds; None for no limit.
      error_rate: Largest share of these requests that may fail.
      tolerance: Largest difference of a float to its golden value, absolute and relative.
      min_replicas: Replicas that must be reached; with fewer nothing is begun.
    """

    load_timeout_seconds: float = 600.0
    call_timeout_seconds: float = 5.0
    requests: int = 100
    p99_ms: float | None = None
    error_rate: float = 0.0
    tolerance: float = 1e-4
    min_replicas: int = 1

    def __post_init__(self) -> None:
        for name, least, most in (
            ("load_timeout_seconds", 0.1, math.inf),
            ("call_timeout_seconds", 0.01, math.inf),
            ("requests", 0, 1_000_000),
            ("error_rate", 0.0, 1.0),
            ("tolerance", 0.0, math.inf),
            ("min_replicas", 1, math.inf),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(f"limits.{name}: {value} is not between {least:g} and {most:g}; give another number")
        if self.p99_ms is not None and not self.p99_ms > 0:
            raise UsageError(f"limits.p99_ms: {self.p99_ms} is no time; give milliseconds above 0, or none")


@dataclass(frozen=True)
class Tls:
    """Files for calls to the servers; empty paths where one is not needed.

    Attributes:
      authority: PEM file of the certificate authority that signed the servers' certificates.
      certificate: PEM file of the client's own certificate, for mutual TLS.
      key: PEM file of its key.
    """

    authority: str
    certificate: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        if not self.authority:
            raise UsageError("tls.authority: is empty; give the PEM file of the certificate authority")
        if bool(self.certificate) != bool(self.key):
            raise UsageError("tls.certificate and tls.key: only one is given; mutual TLS needs both")


@dataclass(frozen=True)
class Fleet:
    """Servers that all serve the same models.

    Attributes:
      replicas: Addresses ``HOST:PORT``; ``dns:///HOST:PORT`` stands for every address that the name resolves to.
      server_root: Directory of the models as the servers see it.
      labels_in_file: Whether models.config carries the labels, so that a server that restarts has them at once.
        It then needs the flag --allow_version_labels_for_unavailable_models, or it exits at its start.
      file_polled: Whether the servers read models.config again and again (--model_config_file_poll_wait_seconds). If
        not, a version on trial is left out of the file until it has passed, so that a server that restarts meanwhile
        does not meet it; if so, it has to be there, or the servers would let it go again.
      keep_previous: Whether the last stable release stays loaded, so that a rollback takes seconds.
      memory_limit_bytes: Memory that one replica may use; None if it is not known.
      other_models: Further models of these servers, as text of a models.config. A reload replaces the whole
        configuration: a model that is neither here nor in a set is unloaded.
      tls: Files for TLS; None for plain connections.
      limits: What a version must prove.
    """

    server_root: str
    replicas: tuple[str, ...] = ()
    labels_in_file: bool = True
    file_polled: bool = False
    keep_previous: bool = True
    memory_limit_bytes: int | None = None
    other_models: str = ""
    tls: Tls | None = None
    limits: Limits = dataclasses.field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.server_root.startswith("/"):
            raise UsageError(
                f"fleet.server_root: {self.server_root!r} is no absolute path; TensorFlow Serving refuses others: "
                "give the serving root as the servers see it, such as /models"
            )
        for replica in self.replicas:
            host, _, port = replica.removeprefix(_DNS).rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise UsageError(f"fleet.replicas: {replica!r} is no address; give HOST:PORT or dns:///HOST:PORT")
        if len(set(self.replicas)) != len(self.replicas):
            raise UsageError(f"fleet.replicas: {', '.join(self.replicas)} names one twice; give each once")
        if self.memory_limit_bytes is not None and self.memory_limit_bytes <= 0:
            raise UsageError(f"fleet.memory_limit_bytes: {self.memory_limit_bytes} is no size; give bytes above 0")


def fleet_to_json(fleet: Fleet) -> dict[str, Any]:
    """Turn a fleet into what JSON can hold."""
    return dataclasses.asdict(fleet)


def fleet_from_json(value: Mapping[str, Any]) -> Fleet:
    """Read a fleet from the state file.

    Args:
      value: What `fleet_to_json` made.

    Returns:
      The fleet.

    Raises:
      InvalidStateError: If a field is unknown, missing or has a wrong value.
    """
    try:
        fields = dict(value)
        fields["replicas"] = tuple(fields.get("replicas", ()))
        fields["limits"] = Limits(**fields.get("limits", {}))
        fields["tls"] = Tls(**fields["tls"]) if fields.get("tls") else None
        return Fleet(**fields)
    except (TypeError, AttributeError) as error:
        raise InvalidStateError(f"fleet: {error}") from error
