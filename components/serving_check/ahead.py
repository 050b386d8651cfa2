"""The server of a check, started while the bundle that it is to load is still being made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from crossrec.components.serving_check.config import ServingCheckConfig
from crossrec.serving.launch.standby import Standby, standby_server

# A runner calls executors in its own thread; what it has started for them reaches them by no channel of TFX.
_WAITING: ContextVar[Standby | None] = ContextVar("waiting server", default=None)


@contextlib.contextmanager
def server_ahead(config: ServingCheckConfig, model: str) -> Iterator[None]:
    """Starts the server of a check that will run in this thread; it is gone afterwards, however this ends.

    Args:
        config: Which server.
        model: Name under which the bundle will be served.
    """
    with standby_server(config.server, model) as standby:
        token = _WAITING.set(standby)
        try:
            yield
        finally:
            _WAITING.reset(token)


def take_server(model: str) -> Standby | None:
    """The server that was started ahead for a model, once; None where there is none."""
    standby = _WAITING.get()
    if standby is None or standby.model != model:
        return None
    _WAITING.set(None)
    return standby
