"""Ports of this machine."""

from __future__ import annotations

import contextlib
import random
import socket

HOST = "127.0.0.1"
# Systems give ports above these to whoever asks for any, as each connection does.
_ASKED_FOR_BY_NUMBER = range(15_000, 30_000)
_TRIES = 100


def free_port() -> int:
    """Find a port that nobody uses now; somebody else may take it later, but no connection does by chance."""
    for port in (*random.SystemRandom().sample(_ASKED_FOR_BY_NUMBER, _TRIES), 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise OSError(f"no port of {HOST} is free")


def is_taken(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0
