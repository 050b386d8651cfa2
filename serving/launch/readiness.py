"""Whether a server answers for all that it is to serve."""

from __future__ import annotations

from collections.abc import Sequence

from crossrec.serving.launch.models import ServedModel
from crossrec.serving.releases.converge import AVAILABLE
from crossrec.serving.releases.errors import ReplicaDownError, ReplicaError
from crossrec.serving.releases.replica import Replica

_CALL_SECONDS = 2.0


def ready_versions(target: str, models: Sequence[ServedModel]) -> dict[str, int] | None:
    """Ask a server for each of its models.

    Args:
        target: ``HOST:PORT`` of the server.
        models: What it is to serve.

    Returns:
        The version that answers by model name: that of the label for a model with one, else the highest that is
        AVAILABLE. None if a model does not answer yet.
    """
    ready = {}
    # A connection for each look: one that has failed waits longer and longer before it tries again.
    with Replica(target, _CALL_SECONDS) as replica:
        for model in models:
            version = _ready_version(replica, model)
            if version is None:
                return None
            ready[model.name] = version
    return ready


def _ready_version(replica: Replica, model: ServedModel) -> int | None:
    try:
        if model.label:
            return replica.labelled_version(model.name, model.label)
        statuses = replica.statuses(model.name)
    except (ReplicaDownError, ReplicaError):
        return None
    return max((version for version, status in statuses.items() if status.state == AVAILABLE), default=None)
