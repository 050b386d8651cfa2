"""From requests to the tensors of a signature: check, fill what is missing, pad lists, write the wire bytes."""

import math
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Callable, Union

import numpy as np

from crossrec.serving.client.errors import ContractError, RequestError
from crossrec.serving.client.schema import InputSpec, SignatureSpec
from crossrec.serving.client.types import Request
from crossrec.serving.client.wire import StringField, delimited, varint
from crossrec.serving.contract import names

RequestLike = Union[Request, Mapping[str, Any]]

# Field numbers of TensorFlow's protocol; a test compares them with the descriptors.
_INPUTS = 2  # PredictRequest
_KEY, _VALUE = 1, 2  # map entry
_SHAPE, _CONTENT = 2, 4  # TensorProto
_DIM = 2  # TensorShapeProto
_STRING_VALUES = StringField(8)
_DTYPE_NUMBERS = {"string": 7, "float32": 1, "float64": 2, "int32": 3, "int64": 9}
_FORMATS = {"string": "", "float32": "f", "float64": "d", "int32": "i", "int64": "q"}  # of struct
_MAX_CACHED = 32
_MAX_INTEGER = {"int32": 2**31 - 1, "int64": 2**63 - 1}
_MAX_REAL = {name: float(np.finfo(name).max) for name in ("float32", "float64")}


def as_inputs(request: RequestLike) -> Mapping[str, Any]:
    """Bring a request into the form {input name: value}.

    Args:
        request: A `Request`, or a mapping that may also hold ``exclude_items`` and ``candidate_items``.

    Returns:
        Value by input name.

    Raises:
        RequestError: It is neither.
    """
    if isinstance(request, Request):
        inputs = dict(request.features)
        for name, items in (
            (names.EXCLUDE_ITEMS, request.exclude_items),
            (names.CANDIDATE_ITEMS, request.candidate_items),
        ):
            if len(items):
                inputs[name] = items
        return inputs
    if isinstance(request, Mapping):
        return request
    raise RequestError("request", request, f"is {type(request).__name__}", "Pass a Request or a mapping of features")


class SignatureEncoder:
    """Writes batches for one signature; what does not change between them is written once.

    Args:
        signature: Inputs that the model takes; every one is sent.

    Raises:
        ContractError: The model has an input that the contract does not know how to fill.
    """

    def __init__(self, signature: SignatureSpec) -> None:
        self._names = signature.inputs.keys()
        self._inputs = [(name, _InputEncoder(spec)) for name, spec in signature.inputs.items()]

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        """Write a batch.

        Args:
            rows: Value by input name of each request, see `as_inputs`; at least one.

        Returns:
            The field ``inputs`` of a PredictRequest.

        Raises:
            RequestError: An unknown feature, or a value that does not fit its input.
        """
        for row in rows:
            if not row.keys() <= self._names:
                unknown = next(name for name in row if name not in self._names)
                known = f"Known inputs: {', '.join(self._names)}"
                raise RequestError(str(unknown), row[unknown], "is no input of the model", known)
        if len(rows) == 1:
            get = rows[0].get
            return b"".join([encoder.encode([get(name)]) for name, encoder in self._inputs])
        return b"".join([encoder.encode([row.get(name) for row in rows]) for name, encoder in self._inputs])


class _InputEncoder:
    def __init__(self, spec: InputSpec) -> None:
        if spec.dtype not in names.MISSING or spec.shape is None or len(spec.shape) not in (1, 2):
            raise ContractError(
                f"input {spec} is not of the contract",
                "Export the model with inputs of shape [B] or [B, K] and dtype " + ", ".join(names.MISSING),
            )
        self._spec = spec
        self._width = spec.width
        self._multi_valued = spec.multi_valued
        self._missing = names.MISSING[spec.dtype]
        self._convert = _CONVERTERS[spec.dtype]
        self._format = _FORMATS[spec.dtype]
        self._key = delimited(_KEY, spec.name.encode("utf-8"))
        self._type = b"\x08" + varint(_DTYPE_NUMBERS[spec.dtype])
        self._absent: dict[int, bytes] = {}

    def encode(self, values: list[Any]) -> bytes:
        """Write the map entry of one input; `values` holds one value per request."""
        for value in values:
            if value is not None:
                return self._encode(values)
        known = self._absent.get(len(values))
        if known is None:
            known = self._encode(values)
            if len(self._absent) < _MAX_CACHED:
                self._absent[len(values)] = known
        return known

    def _encode(self, values: list[Any]) -> bytes:
        if not self._multi_valued:
            return self._entry(_dims(len(values)), self._content([values], values))
        lists = [_list(self._spec, value) for value in values]
        width = max(map(len, lists)) if self._width is None else self._width
        for value, row in zip(values, lists):
            if len(row) > width:
                problem = f"has {len(row)} values, the model takes {width}"
                raise RequestError(self._spec.name, value, problem, "Shorten it")
        padded = [row if len(row) == width else [*row, *[None] * (width - len(row))] for row in lists]
        return self._entry(_dims(len(values), width), self._content(padded, values))

    def _content(self, rows: Sequence[Sequence[Any]], values: list[Any]) -> bytes:
        if self._format:
            numbers = self._converted(rows, values)
            return delimited(_CONTENT, struct.pack(f"<{len(numbers)}{self._format}", *numbers))
        flat = rows[0] if len(rows) == 1 else [cell for row in rows for cell in row]
        written = _STRING_VALUES.texts(flat)
        return _STRING_VALUES.any(self._converted(rows, values)) if written is None else written

    def _converted(self, rows: Sequence[Sequence[Any]], values: list[Any]) -> list[Any]:
        spec, missing, convert = self._spec, self._missing, self._convert
        wholes = values if self._multi_valued else [None]
        return [
            missing if cell is None else convert(spec, cell, whole if self._multi_valued else cell)
            for row, whole in zip(rows, wholes)
            for cell in row
        ]

    def _entry(self, dims: bytes, content: bytes) -> bytes:
        tensor = self._type + delimited(_SHAPE, dims) + content
        return delimited(_INPUTS, self._key + delimited(_VALUE, tensor))


@lru_cache(maxsize=1024)
def _dims(*sizes: int) -> bytes:
    return b"".join([delimited(_DIM, b"\x08" + varint(size)) for size in sizes])


_Convert = Callable[[InputSpec, Any, Any], Any]


def _list(spec: InputSpec, value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    if type(value) in (list, tuple):
        return value  # type: ignore[no-any-return]
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return value.tolist()  # type: ignore[no-any-return]
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise RequestError(
            spec.name, value, f"is {type(value).__name__}, the input takes several values", "Pass a list"
        )
    return list(value)


def _wrong_type(spec: InputSpec, cell: Any, whole: Any, mend: str) -> RequestError:
    inside = "" if cell is whole else f"holds {cell!r}, which "
    return RequestError(spec.name, whole, f"{inside}is {type(cell).__name__}, the input is {spec.dtype}", mend)


def _text(spec: InputSpec, cell: Any, whole: Any) -> bytes:
    if isinstance(cell, str):
        try:
            return cell.encode("utf-8")
        except UnicodeEncodeError as error:
            raise RequestError(
                spec.name, whole, f"is no valid text ({error.reason})", "Pass text without lone surrogates"
            ) from error
    if isinstance(cell, bytes):
        return bytes(cell)
    if isinstance(cell, (list, tuple, np.ndarray)):
        raise _wrong_type(spec, cell, whole, "Pass one value, the input is not multi-valued")
    raise _wrong_type(spec, cell, whole, "Pass str(value): ids and categories are strings everywhere")


def _real(spec: InputSpec, cell: Any, whole: Any) -> float:
    if isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (int, float, np.integer, np.floating)):
        raise _wrong_type(spec, cell, whole, "Pass a number, or None where it is missing")
    try:
        number = float(cell)
    except OverflowError as error:
        raise RequestError(spec.name, whole, f"does not fit {spec.dtype}", "Pass a smaller number") from error
    if math.isfinite(number) and abs(number) > _MAX_REAL[spec.dtype]:
        raise RequestError(spec.name, whole, f"does not fit {spec.dtype}", "Pass a smaller number")
    return number


def _integer(spec: InputSpec, cell: Any, whole: Any) -> int:
    if isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (int, np.integer)):
        raise _wrong_type(spec, cell, whole, "Pass an int (timestamps: unix seconds), or None where it is missing")
    limit = _MAX_INTEGER[spec.dtype]
    if not -limit - 1 <= cell <= limit:
        raise RequestError(spec.name, whole, f"does not fit {spec.dtype}", f"Stay within {-limit - 1} and {limit}")
    return int(cell)


_CONVERTERS: dict[str, _Convert] = {
    "string": _text,
    "float32": _real,
    "float64": _real,
    "int32": _integer,
    "int64": _integer,
}
