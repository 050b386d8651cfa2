"""Garbage collection: the files of versions that nobody will ask for again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossrec.serving.releases.commands import session
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.durable import sync
from crossrec.serving.releases.errors import ReleaseError, ReplicaDownError, UsageError, describe_os_error
from crossrec.serving.releases.reconcile import TRASH_PREFIX, remove_trash
from crossrec.serving.releases.replica import Replica
from crossrec.serving.releases.state import ReleaseSet
from crossrec.serving.releases.versions import find_version, list_versions


@dataclass(frozen=True)
class Garbage:
    """A version that is, or would be, removed.

    Attributes:
      model: Name of the model.
      version: The version.
      size_bytes: Bytes that this frees.
    """

    model: str
    version: int
    size_bytes: int


def collect(context: Context, keep: int, dry_run: bool) -> tuple[list[Garbage], list[str]]:
    """Remove versions that are neither wanted nor loaded anywhere.

    These stay: stable, canary, what is kept loaded, pinned, the last ``keep`` former stable releases, and versions
    newer than the stable one that were not rejected.

    Args:
      context: Where and by whom.
      keep: How many former stable releases stay.
      dry_run: Only say what would be removed.

    Returns:
      What was removed, and why other candidates were not, a line each.

    Raises:
      UsageError: If `keep` is negative.
      ReleaseError: If it could not be done.
    """
    if keep < 0:
        raise UsageError(f"--keep {keep}: give 0 or more")
    with session(context, "collecting garbage") as (state, replicas):
        removed, spared = [], []
        for one in state.sets.values():
            for model, versions in _candidates(context, one, keep).items():
                for version in versions:
                    path = context.version_dir(model, version)
                    users = _users(replicas, model, version)
                    if users:
                        spared.append(
                            f"{model} {version}: is still loaded at {', '.join(users)}; run `crossrec release "
                            "reconcile`"
                        )
                        continue
                    removed.append(Garbage(model, version, _size(path)))
                    if not dry_run:
                        _remove(context, model, version, path)
        return removed, spared


def _candidates(context: Context, one: ReleaseSet, keep: int) -> Mapping[str, Sequence[int]]:
    if one.stable is None:
        return {}
    stays = [*one.loaded(), *(pin.release for pin in one.pinned), *one.former[:keep]]
    found = {}
    for model in one.models:
        model_dir = context.serving_root / model
        wanted = {release.by_model()[model] for release in stays}
        stable = one.stable.by_model()[model]
        rejected = {rejected.release.by_model()[model] for rejected in one.rejected}
        there = list_versions(model_dir) if model_dir.is_dir() else []
        found[model] = [
            v for v in there if v not in wanted and (v < stable or v in rejected) and find_version(model_dir, v)
        ]
    return found


def _users(replicas: Sequence[Replica], model: str, version: int) -> list[str]:
    users = []
    for replica in replicas:
        try:
            status = replica.statuses(model).get(version)
        except ReplicaDownError:
            continue  # when it starts, models.config does not name the version
        if status is not None and status.state != "END":
            users.append(replica.target)
    return users


def _remove(context: Context, model: str, version: int, path: Path) -> None:
    """Hide the version in one step, so that no server ever sees a part of it, then remove it."""
    trash = path.with_name(f"{TRASH_PREFIX}{path.name}")
    context.ledger.append(
        {"event": "collected", "kind": "gc", "by": context.actor, "to": {model: version}, "id": f"gc-{model}-{version}"}
    )
    context.on_step(f"gc recorded {model} {version}")
    try:
        os.rename(path, trash)
        sync(path.parent)
    except OSError as error:
        raise ReleaseError(f"cannot remove {model} {version}: {describe_os_error(error, path.parent)}") from error
    context.on_step(f"gc hidden {model} {version}")
    remove_trash(trash)
    context.on_step(f"gc removed {model} {version}")


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
