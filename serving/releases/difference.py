"""What is different between two releases: files, signatures, ops, and the answers to the same requests."""

from __future__ import annotations

import filecmp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from crossrec.serving.contract.messages import PredictRequest
from crossrec.serving.contract.names import ITEM_IDS, MODEL_VERSION
from crossrec.serving.contract.tensors import to_array
from crossrec.serving.releases.commands import connected
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.converge import AVAILABLE
from crossrec.serving.releases.errors import CheckFailedError, ReleaseError
from crossrec.serving.releases.golden import read_golden
from crossrec.serving.releases.release import Release
from crossrec.serving.releases.replica import Replica
from crossrec.serving.releases.saved_model import describe_model
from crossrec.serving.releases.state import ReleaseState


@dataclass(frozen=True)
class AnswerDifference:
    """How the answers to the same requests differ.

    Attributes:
      source: "live" (both versions were asked on one replica) or "recorded" (golden answers to equal requests).
      requests: Number of requests compared.
      item_overlap: Mean share of the items of a list that both have; None without lists of items.
      largest_change: Largest difference of a float, by output.
    """

    source: str
    requests: int
    item_overlap: float | None
    largest_change: Mapping[str, float]


@dataclass(frozen=True)
class ModelDifference:
    """What is different between two versions of a model.

    Attributes:
      model: Name of the model.
      versions: Both versions.
      size_bytes: Bytes on disk of both.
      files: Files that were added ("+"), removed ("-") or changed ("~").
      signatures: Inputs and outputs that were added ("+") or removed ("-").
      ops: Ops that were added ("+") or removed ("-").
      answers: How answers differ; None if there is no request that both can be asked.
    """

    model: str
    versions: tuple[int, int]
    size_bytes: tuple[int, int]
    files: Sequence[str] = ()
    signatures: Sequence[str] = ()
    ops: Sequence[str] = ()
    answers: AnswerDifference | None = field(default=None)


def compare_releases(context: Context, state: ReleaseState, first: Release, second: Release) -> list[ModelDifference]:
    """Compare two releases model by model. Nothing is changed.

    Args:
      context: Where the versions lie.
      state: For the servers.
      first: One release.
      second: The other.

    Returns:
      A comparison per model.

    Raises:
      UsageError: If a version is not there.
      ReleaseError: If it cannot be read.
    """
    versions = second.by_model()
    return [_compare(context, state, model, version, versions[model]) for model, version in first.versions]


def _compare(context: Context, state: ReleaseState, model: str, first: int, second: int) -> ModelDifference:
    paths = context.version_dir(model, first), context.version_dir(model, second)
    sizes, described = [_sizes(path) for path in paths], [describe_model(path) for path in paths]
    same = sorted(set(sizes[0]) & set(sizes[1]))
    _, changed, _ = filecmp.cmpfiles(*paths, same, shallow=False)
    signatures = [
        {
            f"{key} {kind}: {line}"
            for key, sides in one.signatures.items()
            for kind, lines in sides.items()
            for line in lines
        }
        for one in described
    ]
    return ModelDifference(
        model,
        (first, second),
        (sum(sizes[0].values()), sum(sizes[1].values())),
        files=[*_marked(set(sizes[0]), set(sizes[1])), *(f"~ {name}" for name in sorted(changed))],
        signatures=_marked(*signatures),
        ops=_marked(set(described[0].ops), set(described[1].ops)),
        answers=_live(state, model, first, second, paths) or _recorded(paths),
    )


def _sizes(path: Path) -> dict[str, int]:
    return {str(file.relative_to(path)): file.stat().st_size for file in path.rglob("*") if file.is_file()}


def _marked(first: set[str], second: set[str]) -> list[str]:
    return [*(f"- {line}" for line in sorted(first - second)), *(f"+ {line}" for line in sorted(second - first))]


def _live(
    state: ReleaseState, model: str, first: int, second: int, paths: tuple[Path, Path]
) -> AnswerDifference | None:
    if not state.fleet.replicas:
        return None
    with connected(state) as replicas:
        for replica in replicas:
            try:
                statuses = replica.statuses(model)
                logs = [log for path in paths for log in read_golden(path)]
            except ReleaseError:
                continue
            if all(version in statuses and statuses[version].state == AVAILABLE for version in (first, second)):
                pairs = [_ask_both(replica, log.predict_log.request, model, first, second) for log in logs]
                answered = [pair for pair in pairs if pair is not None]
                return _judge("live", answered) if answered else None
    return None


def _ask_both(replica: Replica, request: Any, model: str, first: int, second: int) -> tuple[Any, Any] | None:
    """Ask both versions; None if one of them refuses, as it does when the inputs have changed."""
    answers = []
    for version in (first, second):
        addressed = PredictRequest()
        addressed.CopyFrom(request)
        addressed.model_spec.name = model
        addressed.model_spec.version.value = version
        try:
            answers.append(replica.predict(addressed))
        except grpc.RpcError:
            return None
    return answers[0], answers[1]


def _recorded(paths: tuple[Path, Path]) -> AnswerDifference | None:
    try:
        logs = [read_golden(path) for path in paths]
    except CheckFailedError:
        return None
    known = {_key(log): log.predict_log.response for log in logs[0]}
    pairs = [(known[_key(log)], log.predict_log.response) for log in logs[1] if _key(log) in known]
    return _judge("recorded", pairs) if pairs else None


def _key(log: Any) -> bytes:
    request = PredictRequest()
    request.CopyFrom(log.predict_log.request)
    request.model_spec.ClearField("version_choice")
    return bytes(request.SerializeToString(deterministic=True))


def _judge(source: str, pairs: Sequence[tuple[Any, Any]]) -> AnswerDifference:
    overlaps: list[float] = []
    changes: dict[str, float] = {}
    for first, second in pairs:
        for name in sorted(set(first.outputs) & set(second.outputs)):
            left, right = to_array(first.outputs[name], name), to_array(second.outputs[name], name)
            if name == ITEM_IDS and left.ndim == right.ndim == 2:
                overlaps += [_overlap(one, other) for one, other in zip(left, right)]
            elif name != MODEL_VERSION and left.dtype.kind == right.dtype.kind == "f" and left.shape == right.shape:
                both = np.isfinite(left) & np.isfinite(right)
                change = float(np.max(np.abs(left[both] - right[both]), initial=0.0))
                changes[name] = max(changes.get(name, 0.0), change)
    return AnswerDifference(source, len(pairs), float(np.mean(overlaps)) if overlaps else None, changes)


def _overlap(first: Any, second: Any) -> float:
    left, right = ({item for item in items if item} for items in (first, second))
    return len(left & right) / max(len(left), len(right)) if left or right else 1.0
