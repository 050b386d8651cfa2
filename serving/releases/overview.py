"""What an operator sees: versions with their parts in the releases, and what every replica serves."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossrec.serving.releases.commands import connected
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.converge import observe
from crossrec.serving.releases.errors import ReleaseError
from crossrec.serving.releases.ledger import Ledger
from crossrec.serving.releases.memory import estimate_bytes
from crossrec.serving.releases.release import Release
from crossrec.serving.releases.state import ReleaseSet, ReleaseState
from crossrec.serving.releases.versions import find_version, list_versions
from crossrec.serving.releases.wanted import wanted_models

# Without an earlier load to go by: a conservative disk, and the graph's own time.
_BYTES_PER_SECOND = 100e6
_GRAPH_SECONDS = 2.0
_PHASES = ("loaded", "moved")


@dataclass(frozen=True)
class VersionRow:
    """A version that lies in a model's directory.

    Attributes:
      model: Name of the model.
      version: The version.
      parts: What it is: stable, canary, kept loaded, pinned, former stable, rejected, new.
      size_bytes: Bytes on disk.
      published: When its directory was made, in UTC.
      note: Why it was rejected or pinned.
    """

    model: str
    version: int
    parts: Sequence[str]
    size_bytes: int
    published: str
    note: str = ""


@dataclass(frozen=True)
class ReplicaView:
    """What a replica serves.

    Attributes:
      target: Its address.
      verdict: "in sync", "behind" or "down".
      versions: Available versions by model.
      labels: Version by label by model.
      error: Why it is down.
    """

    target: str
    verdict: str
    versions: Mapping[str, Sequence[int]]
    labels: Mapping[str, Mapping[str, int]]
    error: str = ""


def version_rows(context: Context, one: ReleaseSet) -> list[VersionRow]:
    """List the versions of a set's models.

    Args:
      context: Where they lie.
      one: The set.

    Returns:
      Rows by model, the highest version first.
    """
    rows = []
    for model in one.models:
        model_dir = context.serving_root / model
        for version in reversed(list_versions(model_dir) if model_dir.is_dir() else []):
            path = find_version(model_dir, version)
            if path is None:
                continue
            parts, note = _parts(one, model, version)
            modified = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.timezone.utc)
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            rows.append(VersionRow(model, version, parts, size, modified.isoformat(timespec="seconds"), note))
    return rows


def replica_views(state: ReleaseState) -> list[ReplicaView]:
    """Look at every replica.

    Args:
      state: The state.

    Returns:
      What each serves.
    """
    wanted = wanted_models(state)
    views = []
    with connected(state) as replicas:
        for replica in replicas:
            try:
                replica.require_up()
                seen = observe(replica, wanted)
            except ReleaseError as error:
                views.append(ReplicaView(replica.target, "down", {}, {}, str(error)))
                continue
            verdict = "in sync" if seen.agrees(wanted) else "behind"
            views.append(ReplicaView(replica.target, verdict, {m: seen.available(m) for m in wanted}, seen.labels))
    return views


def load_estimate(context: Context, release: Release) -> tuple[float, str]:
    """Estimate how long a release takes to load.

    Args:
      context: Where its files and the ledger are.
      release: The release.

    Returns:
      Seconds, and what they go by.
    """
    seconds, sources = 0.0, set()
    for model, version in release.versions:
        before = _last_load(context.ledger, f"{model}/{version}")
        if before is not None:
            seconds += before
            sources.add("its last load")
        else:
            path = find_version(context.serving_root / model, version)
            seconds += _GRAPH_SECONDS + (estimate_bytes(path) / _BYTES_PER_SECOND if path else 0.0)
            sources.add("its size")
    return seconds, " and ".join(sorted(sources))


def history(ledger: Ledger, set_name: str | None, limit: int, phases: bool) -> list[dict[str, Any]]:
    """Read the last events.

    Args:
      ledger: The ledger.
      set_name: Only those of this set, and those of all sets; None for all.
      limit: How many; 0 for all.
      phases: The phases between begin and end of an operation too.

    Returns:
      Events, the oldest first.
    """
    events = [
        event
        for event in ledger.events()
        if (set_name is None or event.get("set") in (None, set_name)) and (phases or event.get("event") not in _PHASES)
    ]
    return events[-limit:] if limit else events


def _parts(one: ReleaseSet, model: str, version: int) -> tuple[list[str], str]:
    def names(release: Release | None) -> bool:
        return release is not None and release.by_model().get(model) == version

    parts, notes = [], []
    if names(one.stable):
        parts.append("stable")
    if one.canary is not None and names(one.canary.release):
        parts.append(f"canary {one.canary.percent:g}%")
    if names(one.kept):
        parts.append("kept loaded")
    elif any(names(release) for release in one.former):
        parts.append("former stable")
    for pin in one.pinned:
        if names(pin.release):
            parts.append("pinned, loaded" if pin.loaded else "pinned")
            notes.append(pin.reason)
    for rejected in one.rejected:
        if names(rejected.release):
            parts.append("rejected")
            notes.append(rejected.reason)
    newest = one.stable is None or version > one.stable.by_model()[model]
    return parts or ["new" if newest else "old"], "; ".join(note for note in notes if note)


def _last_load(ledger: Ledger, name: str) -> float | None:
    found = None
    for event in ledger.events():
        taken = [answer.get("load_seconds", {}).get(name) for answer in event.get("replicas", ())]
        times = [seconds for seconds in taken if seconds is not None]
        if times:
            found = max(times)
    return found
