"""From the tensors of an answer to typed results."""

from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np

from crossrec.serving.client.errors import ContractError
from crossrec.serving.client.types import Ranking, Recommendations
from crossrec.serving.contract import names
from crossrec.serving.contract.tensors import DT_STRING, TensorError, to_array

_RESERVED = (names.ITEM_IDS, names.SCORES, names.MODEL_VERSION)
_MEND = "Check that the model is a bundle; `metadata()` shows its outputs"


class Answer:
    """Outputs of one Predict call, checked for the batch's size."""

    def __init__(self, response: Any, batch: int, latency_ms: float) -> None:
        self.batch = batch
        self.latency_ms = latency_ms
        self._served_version = int(response.model_spec.version.value)
        self._outputs: dict[str, Any] = {}
        for name, proto in response.outputs.items():
            try:
                array = to_array(proto, f"output {name}")
            except TensorError as error:
                raise ContractError(str(error), _MEND) from error
            if array.ndim == 0 or len(array) != batch:
                raise ContractError(f"output {name} has shape {list(array.shape)} for a batch of {batch}", _MEND)
            self._outputs[name] = _text(array) if proto.dtype == DT_STRING else array

    def output(self, name: str, rank: int) -> "np.ndarray[Any, Any]":
        """Return one output.

        Args:
            name: Its name.
            rank: Number of dimensions that the contract gives it.

        Returns:
            The array, strings decoded.

        Raises:
            ContractError: It is not there or of another rank.
        """
        array: Optional[np.ndarray[Any, Any]] = self._outputs.get(name)
        if array is None:
            raise ContractError(f"the answer has no output {name!r}, only {', '.join(sorted(self._outputs))}", _MEND)
        if array.ndim != rank:
            raise ContractError(
                f"output {name} has shape {list(array.shape)}, the contract gives it rank {rank}", _MEND
            )
        return array

    def versions(self) -> list[int]:
        """Return the version that each row names; the server's word where the model has no such output."""
        if names.MODEL_VERSION not in self._outputs:
            return [self._served_version] * self.batch
        versions: list[int] = self.output(names.MODEL_VERSION, 1).tolist()
        return versions

    def columns(self, width: int) -> Mapping[str, "np.ndarray[Any, Any]"]:
        """Return every further output of one value per item, by name and sorted by it."""
        return {
            name: array
            for name, array in sorted(self._outputs.items())
            if name not in _RESERVED and array.shape == (self.batch, width)
        }


def _text(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    decoded = np.empty(array.size, dtype=object)
    # A damaged catalogue text must not cost the whole answer.
    decoded[:] = [value.decode("utf-8", "replace") for value in array.ravel().tolist()]
    return decoded.reshape(array.shape)


def recommendations(answer: Answer, limit: Optional[int]) -> list[Recommendations]:
    """Read an answer of `recommend` or `retrieve`.

    Args:
        answer: Outputs of the call.
        limit: At most so many items per request; None for all that the model gives.

    Returns:
        One result per request, padding removed.

    Raises:
        ContractError: An output is missing or misshapen.
    """
    ids, scores = answer.output(names.ITEM_IDS, 2), answer.output(names.SCORES, 2)
    if ids.shape != scores.shape:
        raise ContractError(f"item_ids {list(ids.shape)} and scores {list(scores.shape)} differ", _MEND)
    columns = answer.columns(ids.shape[1])
    results = []
    for row, version in enumerate(answer.versions()):
        kept = [place for place, item in enumerate(ids[row].tolist()) if item != names.PADDING_ITEM][:limit]
        end = len(kept)
        # Padding stands at the end, so a slice does; copying by index is for a model that breaks the rule.
        chosen: Any = slice(end) if not kept or kept[-1] == end - 1 else kept
        results.append(
            Recommendations(
                ids=tuple(ids[row, chosen].tolist()),
                scores=scores[row, chosen],
                columns={name: column[row, chosen].tolist() for name, column in columns.items()},
                model_version=version,
                latency_ms=answer.latency_ms,
            )
        )
    return results


def rankings(answer: Answer, candidates: Sequence[Sequence[str]]) -> list[Ranking]:
    """Read an answer of `rank`.

    Args:
        answer: Outputs of the call.
        candidates: Per request the item ids that were sent, without the padding.

    Returns:
        One result per request, the candidates in the order in which they were sent.

    Raises:
        ContractError: An output is missing or misshapen.
    """
    scores = answer.output(names.SCORES, 2)
    width = max(map(len, candidates))
    if scores.shape[1] < width:
        raise ContractError(f"scores {list(scores.shape)} for {width} candidates", _MEND)
    columns = answer.columns(scores.shape[1])
    return [
        Ranking(
            ids=tuple(items),
            scores=scores[row, : len(items)],
            columns={name: column[row, : len(items)].tolist() for name, column in columns.items()},
            model_version=version,
            latency_ms=answer.latency_ms,
        )
        for row, (items, version) in enumerate(zip(candidates, answer.versions()))
    ]
