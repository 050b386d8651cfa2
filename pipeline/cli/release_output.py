"""What `crossrec release` prints for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossrec.serving.releases.collect import Garbage
    from crossrec.serving.releases.converge import ReplicaAnswer
    from crossrec.serving.releases.difference import ModelDifference
    from crossrec.serving.releases.operations import Outcome
    from crossrec.serving.releases.overview import ReplicaView, VersionRow
    from crossrec.serving.releases.reconcile import Reconciled
    from crossrec.serving.releases.release import Release
    from crossrec.serving.releases.saved_model import ModelDescription
    from crossrec.serving.releases.state import ReleaseSet, ReleaseState

_GAP = "  "
_FLAG = "--allow_version_labels_for_unavailable_models"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in columns.

    Args:
        head: Titles.
        rows: As many cells each.

    Returns:
        Lines, without blanks at their ends.
    """
    widths = [max(map(len, cells)) for cells in zip(head, *rows)]
    lines = [_GAP.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (head, *rows)]
    return "\n".join(lines)


def rows_text(rows: Sequence[VersionRow]) -> str:
    """Print `list`."""
    if not rows:
        return "No version is published."
    cells = [[r.model, str(r.version), ", ".join(r.parts), _size(r.size_bytes), r.published, r.note] for r in rows]
    return table(["model", "version", "is", "size", "published", "note"], cells)


def state_text(state: ReleaseState, views: Sequence[ReplicaView], models_config: str) -> str:
    """Print `show`."""
    lines = []
    for name, one in state.sets.items():
        lines += [_set_text(name, one), ""]
    if state.operation is not None:
        operation = state.operation
        lines += [
            f"NOT FINISHED: {operation.kind.value} {operation.target} of {operation.set_name}, begun by "
            f"{operation.actor} at "
            f"{operation.started} (phase {operation.phase.value}).",
            "If nobody is at work on it: crossrec release reconcile",
            "",
        ]
    cells = [[view.target, view.verdict, _serves(view), view.error] for view in views]
    lines.append(table(["replica", "verdict", "serves", ""], cells))
    if any(view.verdict != "in sync" for view in views):
        lines += ["", "Replicas that are not in sync: crossrec release reconcile"]
    lines += ["", f"models.config: {models_config} (generation {state.generation})"]
    return "\n".join(lines)


def version_text(
    rows: Sequence[VersionRow], models: Mapping[str, ModelDescription], events: Sequence[Mapping[str, Any]]
) -> str:
    """Print `show VERSION`."""
    lines = [rows_text(rows)]
    for name, model in models.items():
        lines += ["", f"{name}, written by TensorFlow {model.tensorflow_version}, {len(model.ops)} kinds of ops:"]
        for key, sides in model.signatures.items():
            lines.append(f"  {key}")
            lines += [f"    {'in ' if kind == 'inputs' else 'out'} {line}" for kind in sides for line in sides[kind]]
    return "\n".join([*lines, "", history_text(events, verbose=False)])


def outcome_text(outcome: Outcome, seconds: float) -> str:
    """Print how an operation ended."""
    operation = outcome.operation
    lines = [answer_text(answer) for answer in outcome.answers]
    one = outcome.state.release_set(operation.set_name)
    lines.append(f"{operation.kind.value} {operation.target} is done in {seconds:.1f} s.")
    lines.append(_set_text(operation.set_name, one))
    if outcome.behind:
        lines.append(
            f"Not reached or not in sync: {', '.join(outcome.behind)}. The state is written down; run "
            "`crossrec release reconcile` "
            "when they are up."
        )
    return "\n".join(lines)


def answer_text(answer: ReplicaAnswer) -> str:
    """Print what a replica answered to an operation."""
    if answer.outcome != "ok":
        return f"{answer.target}: {answer.outcome.upper()}: {answer.error}"
    parts = [f"loaded {name} in {seconds:.1f} s" for name, seconds in answer.load_seconds.items()]
    for name, check in answer.checks.items():
        if check.golden:
            parts.append(f"{name}: {check.golden} golden answers right")
        if check.p99_ms is not None:
            parts.append(
                f"p50 {check.p50_ms:.1f} ms, p99 {check.p99_ms:.1f} ms over {check.requests} requests, "
                f"{check.errors} failed"
            )
    parts += [
        f"{model}:{label} = {v}" for model, labels in answer.labels.items() for label, v in sorted(labels.items())
    ]
    return f"{answer.target}: {'; '.join(parts) or 'ok'}"


def rollback_text(stable: Release | None, target: Release, cold: Sequence[str], estimate: tuple[float, str]) -> str:
    """Print how long a rollback will take."""
    begin = f"rolling back from {stable} to {target}"
    if not cold:
        return f"{begin}, which is loaded: this takes seconds"
    seconds, source = estimate
    return f"{begin}, which is not loaded at {', '.join(cold)}: loading takes about {seconds:.0f} s, going by {source}"


def garbage_text(removed: Sequence[Garbage], spared: Sequence[str], dry_run: bool) -> str:
    """Print `gc`."""
    verb = "would be removed" if dry_run else "removed"
    lines = [f"{one.model} {one.version}: {verb}, {_size(one.size_bytes)}" for one in removed] + list(spared)
    total = _size(sum(one.size_bytes for one in removed))
    return "\n".join([*lines, f"{len(removed)} versions {verb}, {total}."])


def history_text(events: Sequence[Mapping[str, Any]], verbose: bool) -> str:
    """Print `history`."""
    if not events:
        return "Nothing has happened yet."
    rows = []
    for event in events:
        move = " -> ".join(text for text in (_versions(event.get("from")), _versions(event.get("to"))) if text)
        share = f" {event['percent']:g}%" if "percent" in event else ""
        why = "; ".join(str(event[key]) for key in ("reason", "failure") if event.get(key))
        rows.append(
            [_time(event), str(event.get("event")), f"{event.get('kind')}{share}", move, str(event.get("by")), why]
        )
        if verbose:
            rows += [["", "", "", "", "", _replica_line(answer)] for answer in event.get("replicas", ())]
    return table(["time (UTC)", "event", "what", "versions", "by", "why"], rows)


def reconciled_text(found: Reconciled) -> str:
    """Print `reconcile`."""
    lines = list(found.done)
    for answer in found.answers:
        note = "brought up to date" if answer.target in found.changed else "in sync"
        lines.append(
            answer_text(answer) if answer.outcome != "ok" else f"{answer.target}: {note}: {_labels(answer.labels)}"
        )
    return "\n".join(lines)


def difference_text(compared: Sequence[ModelDifference]) -> str:
    """Print `diff`."""
    lines = []
    for one in compared:
        first, second = one.versions
        lines.append(f"{one.model}: {first} ({_size(one.size_bytes[0])}) and {second} ({_size(one.size_bytes[1])})")
        for title, found in (("files", one.files), ("signatures", one.signatures), ("ops", one.ops)):
            lines.append(f"  {title}: {'equal' if not found else ''}".rstrip())
            lines += [f"    {line}" for line in found]
        answers = one.answers
        if answers is None:
            lines.append("  answers: there is no request that both can be asked")
            continue
        changes = [f"{name} by at most {change:.4g}" for name, change in answers.largest_change.items()]
        if answers.item_overlap is not None:
            changes.insert(0, f"{answers.item_overlap:.1%} of the items are the same")
        lines.append(
            f"  answers ({answers.source}, {answers.requests} requests): {'; '.join(changes) or 'nothing to compare'}"
        )
    return "\n".join(lines)


def configured_text(state: ReleaseState, place: str, models_config: str) -> str:
    """Print `configure`."""
    fleet = state.fleet
    lines = [
        f"state: {place}",
        f"replicas: {', '.join(fleet.replicas) or 'none; name them with --replica HOST:PORT'}",
        f"sets: {'; '.join(name + ' (' + ', '.join(one.models) + ')' for name, one in state.sets.items())}",
        "",
        f"Start every server with --model_config_file={models_config}"
        + (f" {_FLAG}" if fleet.labels_in_file else "")
        + ", and let clients ask for the version label 'stable': requests without a label go to the highest version "
        "that is loaded, also while it is only on trial.",
    ]
    return "\n".join(lines)


def _set_text(name: str, one: ReleaseSet) -> str:
    parts = [f"stable {one.stable or 'none'}"]
    if one.canary is not None:
        parts.append(f"canary {one.canary.release} with {one.canary.percent:g}% of the traffic")
    if one.kept is not None:
        parts.append(f"{one.kept} kept loaded for a rollback")
    parts += [f"{pin.release} pinned{' and loaded' if pin.loaded else ''}" for pin in one.pinned]
    models = f" ({', '.join(one.models)})" if one.models != (name,) else ""
    return f"{name}{models}: {', '.join(parts)}"


def _serves(view: ReplicaView) -> str:
    versions = "; ".join(f"{model} {', '.join(map(str, found)) or 'nothing'}" for model, found in view.versions.items())
    labels = _labels(view.labels)
    return f"{versions} ({labels})" if labels else versions


def _labels(labels: Mapping[str, Mapping[str, int]]) -> str:
    return ", ".join(f"{model}:{label} = {v}" for model, one in labels.items() for label, v in sorted(one.items()))


def _replica_line(answer: Mapping[str, Any]) -> str:
    detail = answer.get("error") or _labels(answer.get("labels", {}))
    return f"  {answer.get('target')}: {answer.get('outcome')}: {detail}"


def _versions(versions: Mapping[str, int] | None) -> str:
    if not versions:
        return ""
    if len(set(versions.values())) == 1:
        return str(next(iter(versions.values())))
    return ",".join(f"{model}={version}" for model, version in sorted(versions.items()))


def _time(event: Mapping[str, Any]) -> str:
    return str(event.get("time", ""))[:19].replace("T", " ")


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.1f} KiB"
