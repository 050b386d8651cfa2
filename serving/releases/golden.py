"""Whether an answer is the one that a version recorded when it was made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.serving.contract.names import ITEM_IDS, MODEL_VERSION, SCORES
from crossrec.serving.contract.prediction_logs import read_prediction_logs
from crossrec.serving.contract.tensors import TensorError, to_array
from crossrec.serving.contract.tfrecord import RecordError
from crossrec.serving.releases.bundle import GOLDEN_REQUESTS
from crossrec.serving.releases.errors import CheckFailedError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Comparison:
    """How an answer compares with the one that was recorded.

    Attributes:
      problems: What differs beyond the tolerance, a line per output; empty if nothing does.
      deviation: Largest ``|answered - expected| / (1 + |expected|)`` of a float that was compared; None without an
        answer that can be compared, and infinity where a value that is not finite differs.
    """

    problems: list[str]
    deviation: float | None = None


def read_golden(version_dir: Path) -> list[Any]:
    """Read the golden requests of a version.

    Args:
      version_dir: The version's directory.

    Returns:
      PredictionLog messages of Predict calls with their answers, at least one.

    Raises:
      CheckFailedError: If there are none, or the file is damaged: nothing then proves that the version can serve.
    """
    path = version_dir / GOLDEN_REQUESTS
    mend = "publish a version that has them (contract.prediction_logs writes them)"
    try:
        logs = read_prediction_logs(path)
    except (OSError, RecordError) as error:
        raise CheckFailedError(f"{path}: golden requests cannot be read: {error}; {mend}") from error
    golden = [
        log for log in logs if log.WhichOneof("log_type") == "predict_log" and log.predict_log.HasField("response")
    ]
    if not golden:
        raise CheckFailedError(f"{path}: holds no request with its answer; {mend}")
    return golden


def compare(expected: Any, answered: Any, version: int, tolerance: float) -> Comparison:
    """Compare two answers.

    Floats may differ by ``tolerance * (1 + |expected|)``, everything else must be equal. Items of a list may change
    places, and the last ones may give way to others, where their scores are that close. The output
    "model_version" must be the version that is asked, not the one that recorded the answer.

    Args:
      expected: PredictResponse that was recorded.
      answered: PredictResponse of the server.
      version: The version that was asked.
      tolerance: Absolute and relative tolerance.

    Returns:
      What differs, and by how much.
    """
    found = []
    if answered.model_spec.version.value != version:
        found.append(f"version {answered.model_spec.version.value} answered instead of {version}")
    if set(expected.outputs) != set(answered.outputs):
        found.append(f"outputs are {sorted(answered.outputs)} instead of {sorted(expected.outputs)}")
        return Comparison(found)
    try:
        wanted = {name: to_array(proto, name) for name, proto in expected.outputs.items()}
        got = {name: to_array(proto, name) for name, proto in answered.outputs.items()}
    except TensorError as error:
        return Comparison([*found, str(error)])
    if MODEL_VERSION in wanted:
        wanted[MODEL_VERSION] = np.full_like(wanted[MODEL_VERSION], version)
    shapes = [
        f"{n} has shape {got[n].shape} instead of {wanted[n].shape}" for n in wanted if got[n].shape != wanted[n].shape
    ]
    if shapes:
        return Comparison([*found, *shapes])
    kept = _align(wanted, got, tolerance)
    deviation = 0.0
    for name, array in wanted.items():
        mask = kept if kept is not None and array.shape == kept.shape else None
        found += _compare(name, array, got[name], tolerance, mask)
        if array.dtype.kind == "f" and got[name].dtype == array.dtype:
            deviation = max(deviation, _deviation(array, got[name], mask))
    return Comparison(found, deviation)


def _align(wanted: dict[str, Array], got: dict[str, Array], tolerance: float) -> Array | None:
    """Put the answered items into the expected order; return which places to compare, or None for all."""
    ids, scores = wanted.get(ITEM_IDS), wanted.get(SCORES)
    if ids is None or scores is None or ids.ndim != 2 or ids.shape != scores.shape or ids.shape[1] == 0:
        return None
    kept = np.ones(ids.shape, bool)
    places = np.tile(np.arange(ids.shape[1]), (ids.shape[0], 1))
    for row in range(ids.shape[0]):
        free: dict[bytes, list[int]] = {}
        for place, item in enumerate(got[ITEM_IDS][row]):
            free.setdefault(item, []).append(place)
        missing = []
        taken = set()
        for place, item in enumerate(ids[row]):
            if free.get(item):
                places[row, place] = free[item].pop(0)
                taken.add(int(places[row, place]))
            else:
                missing.append(place)
        rest = [place for place in range(ids.shape[1]) if place not in taken]
        last = scores[row][np.isfinite(scores[row])][-1:]
        for place, other in zip(missing, rest):
            places[row, place] = other
            near = _close(scores[row, place], last, tolerance) & _close(got[SCORES][row, other], last, tolerance)
            kept[row, place] = not near.all() or near.size == 0
    for name, array in got.items():
        if array.shape == ids.shape:
            got[name] = np.take_along_axis(array, places, axis=1)
    return kept


def _close(values: Any, expected: Any, tolerance: float) -> Array:
    expected = np.asarray(expected, np.float64)
    values = np.asarray(values, np.float64)
    with np.errstate(invalid="ignore"):
        near = np.abs(values - expected) <= tolerance * (1 + np.abs(expected))
    return np.asarray(near | (values == expected) | (np.isnan(values) & np.isnan(expected)))


def _deviation(wanted: Array, got: Array, mask: Array | None) -> float:
    expected, answered = wanted.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        away = np.abs(answered - expected) / (1 + np.abs(expected))
    away = np.where(_close(got, wanted, 0.0), 0.0, np.where(np.isfinite(away), away, np.inf))
    return float(np.max(away if mask is None else away[mask], initial=0.0))


def _compare(name: str, wanted: Array, got: Array, tolerance: float, mask: Array | None) -> list[str]:
    if wanted.dtype != got.dtype:
        return [f"{name} is {got.dtype} instead of {wanted.dtype}"]
    same = _close(got, wanted, tolerance) if wanted.dtype.kind == "f" else np.asarray(got == wanted)
    if mask is not None:
        same = same | ~mask
    if same.all():
        return []
    place = tuple(int(index) for index in np.argwhere(~same)[0])
    where = f"{name}{list(place)}" if place else name
    return [
        f"{where} is {_shown(got[place])} instead of {_shown(wanted[place])} ({int((~same).sum())} of "
        f"{same.size} differ)"
    ]


def _shown(value: Any) -> str:
    return repr(value.decode("utf-8", "replace")) if isinstance(value, bytes) else f"{value:g}"
