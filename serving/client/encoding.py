"""From requests to the tensors of a signature: check, fill what is missing, pad lists."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Union

import numpy as np

from crossrec.serving.client.errors import ContractError, RequestError
from crossrec.serving.client.schema import InputSpec, SignatureSpec
from crossrec.serving.client.types import Request
from crossrec.serving.contract import names
from crossrec.serving.contract.tensors import string_tensor, to_tensor_proto

RequestLike = Union[Request, Mapping[str, Any]]


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


def encode_inputs(requests: Sequence[RequestLike], signature: SignatureSpec, target: Any) -> None:
    """Write a batch of requests into a message.

    Args:
        requests: The batch, of at least one request.
        signature: Inputs that the model takes; every one is sent.
        target: The ``inputs`` map of a PredictRequest.

    Raises:
        RequestError: An unknown feature, or a value that does not fit its input.
        ContractError: The model has an input that the contract does not know how to fill.
    """
    rows = [as_inputs(request) for request in requests]
    for row in rows:
        for name in row:
            if name not in signature.inputs:
                raise RequestError(
                    str(name),
                    row[name],
                    "is no input of the model",
                    f"Known inputs: {', '.join(signature.inputs)}",
                )
    for name, spec in signature.inputs.items():
        target[name].CopyFrom(_encode_input(spec, [row.get(name) for row in rows]))


def _encode_input(spec: InputSpec, values: list[Any]) -> Any:
    if spec.dtype not in names.MISSING or spec.shape is None or len(spec.shape) not in (1, 2):
        raise ContractError(
            f"input {spec} is not of the contract",
            "Export the model with inputs of shape [B] or [B, K] and dtype " + ", ".join(names.MISSING),
        )
    missing, convert = names.MISSING[spec.dtype], _CONVERTERS[spec.dtype]
    shape: tuple[int, ...]
    if spec.multi_valued:
        lists = [_list(spec, value, convert) for value in values]
        width = max(map(len, lists)) if spec.width is None else spec.width
        for value, row in zip(values, lists):
            # A list of ids may be shorter than what the model takes; of a vector nothing may be missing.
            vector = spec.width is not None and spec.dtype.startswith("float")
            if len(row) > width or (vector and 0 < len(row) < width):
                raise RequestError(spec.name, value, f"has {len(row)} values, the model takes {width}", "Pass as many")
        flat = [cell for row in lists for cell in row + [missing] * (width - len(row))]
        shape = (len(values), width)
    else:
        flat = [missing if value is None else convert(spec, value, value) for value in values]
        shape = (len(values),)
    if spec.dtype == "string":
        return string_tensor(flat, shape)
    return to_tensor_proto(np.array(flat, dtype=spec.dtype).reshape(shape), spec.name)


_Convert = Callable[[InputSpec, Any, Any], Any]


def _list(spec: InputSpec, value: Any, convert: _Convert) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise RequestError(
            spec.name, value, f"is {type(value).__name__}, the input takes several values", "Pass a list"
        )
    missing = names.MISSING[spec.dtype]
    return [missing if cell is None else convert(spec, cell, value) for cell in value]


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
    if math.isfinite(number) and abs(number) > float(np.finfo(spec.dtype).max):
        raise RequestError(spec.name, whole, f"does not fit {spec.dtype}", "Pass a smaller number")
    return number


def _integer(spec: InputSpec, cell: Any, whole: Any) -> int:
    if isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (int, np.integer)):
        raise _wrong_type(spec, cell, whole, "Pass an int (timestamps: unix seconds), or None where it is missing")
    limits = np.iinfo(spec.dtype)
    if not limits.min <= cell <= limits.max:
        raise RequestError(spec.name, whole, f"does not fit {spec.dtype}", f"Stay within {limits.min} and {limits.max}")
    return int(cell)


_CONVERTERS: dict[str, _Convert] = {
    "string": _text,
    "float32": _real,
    "float64": _real,
    "int32": _integer,
    "int64": _integer,
}
