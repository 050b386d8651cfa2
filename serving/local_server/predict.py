"""The Predict call: from a PredictRequest through a signature to a PredictResponse."""

from __future__ import annotations

import math
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from crossrec.serving.contract.names import DEFAULT_SIGNATURE
from crossrec.serving.local_server.servable import Servable
from crossrec.serving.local_server.statuses import StatusError, invalid_argument, joined

_STRING = tf.string.as_datatype_enum
_BYTES_DTYPES = {
    dtype.as_datatype_enum: np.dtype(dtype.as_numpy_dtype)
    for dtype in (tf.float32, tf.float64, tf.int32, tf.int64, tf.bool)
}
# Typed field by dtype, and the plain dtype that the field holds instead where it differs.
_FIELDS = {
    np.dtype(dtype.as_numpy_dtype): (dtype.as_datatype_enum, field, held)
    for dtype, field, held in (
        (tf.float32, "float_val", None),
        (tf.float64, "double_val", None),
        (tf.float16, "half_val", np.uint16),
        (tf.bfloat16, "half_val", np.uint16),
        (tf.int8, "int_val", None),
        (tf.int16, "int_val", None),
        (tf.int32, "int_val", None),
        (tf.uint8, "int_val", None),
        (tf.uint16, "int_val", None),
        (tf.int64, "int64_val", None),
        (tf.uint32, "uint32_val", None),
        (tf.uint64, "uint64_val", None),
        (tf.bool, "bool_val", None),
        (tf.complex64, "scomplex_val", np.float32),
        (tf.complex128, "dcomplex_val", np.float64),
        (tf.string, "string_val", None),
    )
}
_MAX_RANK = 32  # numpy's limit
# TensorFlow repeats the last of too few values until the shape is full: a few bytes could ask for all memory.
_MAX_REPEATED_VALUES = 2**22


def run_predict(servable: Servable, request: Any) -> Any:
    """Answer a PredictRequest, with the checks of TensorFlow Serving in its order.

    Args:
        servable: Version to ask.
        request: PredictRequest.

    Returns:
        PredictResponse.

    Raises:
        StatusError: The request does not fit the signature, or an op refused.
    """
    key = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(key)
    if signature is None:
        raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{key}" not found.')
    _check_input_count(signature, request)
    arrays = _inputs(signature, request)
    aliases = _outputs(signature, request)
    endpoints = servable.endpoints(key)
    results = servable.run(
        {endpoints.inputs[alias]: array for alias, array in arrays.items()},
        [endpoints.outputs[alias] for alias in aliases],
    )
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.signature_name = key
    response.model_spec.version.value = servable.version
    for alias, array in zip(aliases, results):
        _write(array, alias, response.outputs[alias])
    return response


def _check_input_count(signature: Any, request: Any) -> None:
    sent, wanted = set(request.inputs), set(signature.inputs)
    if len(sent) > len(wanted) or (len(sent) < len(wanted) and not signature.defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(wanted)} len({{{joined(sent)}}}) != "
            f"len({{{joined(wanted)}}}). Sent extra: {{{joined(sent - wanted)}}}. "
            f"Missing but required: {{{joined(wanted - sent)}}}."
        )


def _inputs(signature: Any, request: Any) -> dict[str, Any]:
    arrays = {}
    for alias, info in signature.inputs.items():
        if alias in request.inputs:
            proto = request.inputs[alias]
        elif alias in signature.defaults:
            proto = signature.defaults[alias]
        else:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request and no default "
                f"value provided. Inputs expected to be in the request {{{joined(request.inputs)}}}, or "
                f"default input alias set: {joined(signature.defaults)}"
            )
        arrays[alias] = _read(proto, alias)
    used = [alias for alias in arrays if alias in request.inputs]
    if len(used) != len(request.inputs):
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {joined(used)}, request input: "
            f"{joined(request.inputs)}"
        )
    return arrays


def _outputs(signature: Any, request: Any) -> list[str]:
    chosen: list[str] = []
    for alias in request.output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{joined(signature.outputs)}}}."
            )
        if alias in chosen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        chosen.append(alias)
    return chosen or list(signature.outputs)


def _read(proto: Any, alias: str) -> Any:
    """Decode an input: the usual forms here, all others by TensorFlow's own parser."""
    shape = [dim.size for dim in proto.tensor_shape.dim]
    count = math.prod(shape)
    try:
        if len(shape) <= _MAX_RANK and min(shape, default=0) >= 0:
            if proto.dtype == _STRING and len(proto.string_val) == count and not proto.tensor_content:
                array = np.empty(count, dtype=object)
                array[:] = proto.string_val
                return array.reshape(shape)
            dtype = _BYTES_DTYPES.get(proto.dtype)
            if dtype is not None and count and len(proto.tensor_content) == count * dtype.itemsize:
                return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
        if count <= _MAX_REPEATED_VALUES or proto.tensor_content:
            return tf.raw_ops.ParseTensor(serialized=proto.SerializeToString(), out_type=proto.dtype).numpy()
    except (tf.errors.OpError, TypeError, ValueError) as error:
        raise invalid_argument(f"tensor parsing error: {alias}") from error
    raise invalid_argument(f"tensor parsing error: {alias}")


def _write(array: Any, alias: str, proto: Any) -> None:
    array = np.asarray(array)
    known = _FIELDS.get(array.dtype)
    if known is None:
        raise StatusError(
            grpc.StatusCode.UNIMPLEMENTED, f"The local server does not send {array.dtype} values: {alias}"
        )
    proto.dtype, field, held = known
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    values = array.ravel()
    getattr(proto, field).extend((values if held is None else values.view(held)).tolist())
