"""From the bytes of an answer to typed results."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Optional, Union

import numpy as np
from google.protobuf.message import DecodeError

from crossrec.serving.client.errors import ContractError
from crossrec.serving.client.types import Ranking, Recommendations
from crossrec.serving.client.wire import BYTES, VARINT, WireError, fields, packed_varints
from crossrec.serving.contract import names
from crossrec.serving.contract.messages import TensorProto
from crossrec.serving.contract.tensors import DT_STRING, TensorError, to_array

_RESERVED = (names.ITEM_IDS, names.SCORES, names.MODEL_VERSION)
_MEND = "Check that the model is a bundle; `metadata()` shows its outputs"
# Field numbers of TensorFlow's protocol; a test compares them with the descriptors.
_OUTPUTS, _MODEL_SPEC = 1, 2  # PredictResponse
_KEY, _VALUE = 1, 2  # map entry
_VERSION, _WRAPPED = 2, 1  # ModelSpec, Int64Value
_DTYPE, _SHAPE = 1, 2  # TensorProto
_DIM, _SIZE = 2, 1  # TensorShapeProto
_DT_FLOAT, _DT_INT64 = 1, 9
_USUAL_FIELDS = {_DT_FLOAT: 5, _DT_INT64: 10}  # float_val, int64_val
# Beyond so many numbers protobuf's own parser is faster.
_FEW = 16


class _Texts:
    """A string tensor, flat, with its shape."""

    __slots__ = ("shape", "values")

    def __init__(self, values: list[str], shape: tuple[int, ...]) -> None:
        self.values = values
        self.shape = shape

    def row(self, number: int) -> list[str]:
        if len(self.shape) == 1:
            return self.values[number : number + 1]
        width = self.shape[1]
        return self.values if self.shape[0] == 1 else self.values[number * width : (number + 1) * width]


_Tensor = Union[_Texts, "np.ndarray[Any, Any]"]


class Answer:
    """Outputs of one Predict call, checked for the batch's size.

    Args:
        payload: Bytes of a PredictResponse.
        batch: Number of requests that were sent.

    Attributes:
        served_version: Version that the server names; 0 where it names none.

    Raises:
        ContractError: The bytes are no such message, or an output is misshapen.
    """

    def __init__(self, payload: bytes, batch: int) -> None:
        self.batch = batch
        self.served_version = 0
        self._outputs: dict[str, _Tensor] = {}
        try:
            for number, kind, begin, end in fields(payload, 0, len(payload)):
                if kind == BYTES and number == _OUTPUTS:
                    name, tensor = _output(payload, begin, end)
                    if not tensor.shape or tensor.shape[0] != batch:
                        problem = f"output {name} has shape {list(tensor.shape)} for a batch of {batch}"
                        raise ContractError(problem, _MEND)
                    self._outputs[name] = tensor
                elif kind == BYTES and number == _MODEL_SPEC:
                    self.served_version = _version(payload, begin, end)
        except (WireError, DecodeError) as error:
            raise ContractError(f"the answer is no PredictResponse ({error})", _MEND) from error

    def texts(self, name: str) -> _Texts:
        """Return a string output of shape [B, N].

        Args:
            name: Its name.

        Returns:
            The tensor.

        Raises:
            ContractError: It is not there, of another rank or of another type.
        """
        tensor = self._output(name, 2)
        if not isinstance(tensor, _Texts):
            raise ContractError(f"output {name} is {tensor.dtype}, the contract says string", _MEND)
        return tensor

    def numbers(self, name: str, rank: int) -> "np.ndarray[Any, Any]":
        """Return a numeric output.

        Args:
            name: Its name.
            rank: Number of dimensions that the contract gives it.

        Returns:
            The array.

        Raises:
            ContractError: It is not there, of another rank or of another type.
        """
        tensor = self._output(name, rank)
        if isinstance(tensor, _Texts):
            raise ContractError(f"output {name} is string, the contract says numbers", _MEND)
        return tensor

    def versions(self) -> list[int]:
        """Return the version that each row names; the server's word where the model has no such output."""
        if names.MODEL_VERSION not in self._outputs:
            return [self.served_version] * self.batch
        versions: list[int] = self.numbers(names.MODEL_VERSION, 1).tolist()
        return versions

    def columns(self, width: int) -> Mapping[str, _Tensor]:
        """Return every further output of one value per item, by name and sorted by it."""
        return {
            name: tensor
            for name, tensor in sorted(self._outputs.items())
            if name not in _RESERVED and tensor.shape == (self.batch, width)
        }

    def _output(self, name: str, rank: int) -> _Tensor:
        tensor = self._outputs.get(name)
        if tensor is None:
            raise ContractError(f"the answer has no output {name!r}, only {', '.join(sorted(self._outputs))}", _MEND)
        if len(tensor.shape) != rank:
            problem = f"output {name} has shape {list(tensor.shape)}, the contract gives it rank {rank}"
            raise ContractError(problem, _MEND)
        return tensor


def _version(data: bytes, begin: int, end: int) -> int:
    for number, kind, first, last in fields(data, begin, end):
        if number == _VERSION and kind == BYTES:
            for inner, inner_kind, value, _ in fields(data, first, last):
                if inner == _WRAPPED and inner_kind == VARINT:
                    return value
    return 0


def _output(data: bytes, begin: int, end: int) -> tuple[str, _Tensor]:
    name, place = "", (begin, begin)
    for number, kind, first, last in fields(data, begin, end):
        if kind == BYTES and number == _KEY:
            name = data[first:last].decode("utf-8", "replace")
        elif kind == BYTES and number == _VALUE:
            place = (first, last)
    known = _usual_tensor(data, *place)
    return name, _any_tensor(data[slice(*place)], name) if known is None else known


def _usual_tensor(data: bytes, begin: int, end: int) -> "Optional[np.ndarray[Any, Any]]":
    """Read float32 numbers in one block, or a few int64 numbers, as servers send them; None for any other form."""
    shape: tuple[int, ...] = (-1,)
    block: Optional[tuple[int, int]] = None
    dtype = wanted = 0
    for number, kind, first, last in fields(data, begin, end):
        if number == _DTYPE and kind == VARINT:
            dtype, wanted = first, _USUAL_FIELDS.get(first, 0)
        elif number == _SHAPE and kind == BYTES:
            shape = _shape(data[first:last])
        elif number == wanted and kind == BYTES and block is None:
            block = (first, last)
        else:
            return None
    if block is None or min(shape, default=-1) < 0:
        return None
    count = math.prod(shape)
    if dtype == _DT_FLOAT:
        if block[1] - block[0] != 4 * count:
            return None
        # A copy, so that the scores do not keep the whole answer in memory.
        return np.frombuffer(data, "<f4", count, block[0]).astype(np.float32).reshape(shape)
    values = list(packed_varints(data, *block)) if count <= _FEW else []
    return np.array(values, np.uint64).view(np.int64).reshape(shape) if len(values) == count else None


@lru_cache(maxsize=1024)
def _shape(data: bytes) -> tuple[int, ...]:
    sizes = []
    for number, kind, first, last in fields(data, 0, len(data)):
        if number != _DIM or kind != BYTES:
            return (-1,)
        size = 0
        for inner, inner_kind, value, _ in fields(data, first, last):
            if inner == _SIZE and inner_kind == VARINT:
                size = value
        sizes.append(size)
    return tuple(sizes)


def _any_tensor(data: bytes, name: str) -> _Tensor:
    proto = TensorProto.FromString(data)
    try:
        if proto.dtype != DT_STRING:
            return to_array(proto, f"output {name}")
        shape = tuple(dim.size for dim in proto.tensor_shape.dim)
        values = list(proto.string_val)
        if not shape or len(values) != math.prod(shape) or proto.tensor_content:
            array = to_array(proto, f"output {name}")
            shape, values = array.shape, array.ravel().tolist()
    except TensorError as error:
        raise ContractError(str(error), _MEND) from error
    return _Texts(_decoded(values), shape)


def _decoded(values: list[bytes]) -> list[str]:
    try:
        # One pass over all of them; only a text that holds the separator itself changes their number.
        texts = b"\0".join(values).decode("utf-8").split("\0")
        if len(texts) == len(values):
            return texts
    except UnicodeDecodeError:  # a damaged catalogue text must not cost the whole answer
        pass
    return [value.decode("utf-8", "replace") for value in values]


def _row(tensor: _Tensor, number: int) -> list[Any]:
    row: list[Any] = tensor.row(number) if isinstance(tensor, _Texts) else tensor[number].tolist()
    return row


def recommendations(answer: Answer, limit: Optional[int], latency_ms: float, attempts: int) -> list[Recommendations]:
    """Read an answer of `recommend` or `retrieve`.

    Args:
        answer: Outputs of the call.
        limit: At most so many items per request; None for all that the model gives.
        latency_ms: Time that the call took.
        attempts: Attempts that it took.

    Returns:
        One result per request, padding removed.

    Raises:
        ContractError: An output is missing or misshapen.
    """
    ids, scores = answer.texts(names.ITEM_IDS), answer.numbers(names.SCORES, 2)
    if ids.shape != scores.shape:
        raise ContractError(f"item_ids {list(ids.shape)} and scores {list(scores.shape)} differ", _MEND)
    columns = answer.columns(ids.shape[1])
    results = []
    for number, version in enumerate(answer.versions()):
        items, row = ids.row(number), scores[number]
        values = {name: _row(column, number) for name, column in columns.items()}
        if names.PADDING_ITEM in items:
            kept = [place for place, item in enumerate(items) if item != names.PADDING_ITEM]
            items, row = [items[place] for place in kept], row[kept]
            values = {name: [column[place] for place in kept] for name, column in values.items()}
        if limit is not None:
            items, row = items[:limit], row[:limit]
            values = {name: column[:limit] for name, column in values.items()}
        results.append(Recommendations(tuple(items), row, values, version, latency_ms, attempts))
    return results


def rankings(answer: Answer, candidates: Sequence[Sequence[str]], latency_ms: float, attempts: int) -> list[Ranking]:
    """Read an answer of `rank`.

    Args:
        answer: Outputs of the call.
        candidates: Per request the item ids that were sent, without the padding.
        latency_ms: Time that the call took.
        attempts: Attempts that it took.

    Returns:
        One result per request, the candidates in the order in which they were sent.

    Raises:
        ContractError: An output is missing or misshapen.
    """
    scores = answer.numbers(names.SCORES, 2)
    width = max(map(len, candidates))
    if scores.shape[1] < width:
        raise ContractError(f"scores {list(scores.shape)} for {width} candidates", _MEND)
    columns = answer.columns(scores.shape[1])
    results = []
    for number, (items, version) in enumerate(zip(candidates, answer.versions())):
        count = len(items)
        values = {name: _row(column, number)[:count] for name, column in columns.items()}
        results.append(Ranking(tuple(items), scores[number, :count], values, version, latency_ms, attempts))
    return results
