"""Codec between numpy arrays and TensorProto.

Numbers are sent as ``tensor_content`` (one copy of the raw bytes), strings as ``string_val``. Answers of
TensorFlow Serving carry typed fields; both forms are read. A typed field shorter than the tensor repeats
its last value, as TensorFlow defines it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from crossrec.serving.contract.messages import TensorProto

DT_STRING = 7
# DataType number: numpy dtype (little-endian, as TensorFlow stores it) and the typed field.
_NUMERIC: dict[int, tuple["np.dtype[Any]", str]] = {
    number: (np.dtype(name).newbyteorder("<"), field)
    for number, name, field in (
        (1, "float32", "float_val"),
        (2, "float64", "double_val"),
        (3, "int32", "int_val"),
        (4, "uint8", "int_val"),
        (5, "int16", "int_val"),
        (6, "int8", "int_val"),
        (8, "complex64", "scomplex_val"),
        (9, "int64", "int64_val"),
        (10, "bool", "bool_val"),
        (17, "uint16", "int_val"),
        (18, "complex128", "dcomplex_val"),
        (19, "float16", "half_val"),
        (22, "uint32", "uint32_val"),
        (23, "uint64", "uint64_val"),
    )
}
_NUMBER_BY_NAME = {dtype.name: number for number, (dtype, _) in _NUMERIC.items()}
_TYPED_FIELDS = sorted({field for _, field in _NUMERIC.values()} | {"string_val"})


class TensorError(ValueError):
    """A tensor cannot be encoded or decoded; the message names the tensor, the value and the mend."""


def dtype_name(number: int) -> str:
    """Name a TensorFlow data type.

    Args:
        number: Value of the enum ``tensorflow.DataType``.

    Returns:
        numpy's name ("float32"), "string", or "DataType <number>" for one that the contract does not hold.
    """
    if number == DT_STRING:
        return "string"
    return _NUMERIC[number][0].name if number in _NUMERIC else f"DataType {number}"


def string_tensor(values: Sequence[bytes], shape: Sequence[int]) -> Any:
    """Build a string tensor from encoded values.

    Args:
        values: UTF-8 bytes in row-major order.
        shape: Sizes of the dimensions; their product is the number of values.

    Returns:
        TensorProto of type DT_STRING.
    """
    proto = TensorProto(dtype=DT_STRING)
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    proto.string_val.extend(values)
    return proto


def to_tensor_proto(array: Any, name: str = "tensor") -> Any:
    """Encode an array.

    Args:
        array: numpy array or what ``np.asarray`` takes. Text is encoded as UTF-8; an object array may hold
            str and bytes only.
        name: Name of the tensor, for the error.

    Returns:
        TensorProto of the array's dtype and shape.

    Raises:
        TensorError: The dtype has no place in the contract, or an object array holds more than text.

    Example:
        >>> to_tensor_proto(np.array(["a", "b"])).string_val
        [b'a', b'b']
    """
    array = np.asarray(array)
    if array.dtype.kind in "USO":
        return string_tensor([_encode(value, name) for value in array.ravel().tolist()], array.shape)
    number = _NUMBER_BY_NAME.get(array.dtype.name)
    if number is None:
        raise TensorError(
            f"{name}: dtype {array.dtype} cannot be sent; convert it to one of {', '.join(sorted(_NUMBER_BY_NAME))}"
        )
    proto = TensorProto(dtype=number)
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    proto.tensor_content = array.astype(_NUMERIC[number][0], copy=False).tobytes()
    return proto


def to_array(proto: Any, name: str = "tensor") -> "np.ndarray[Any, Any]":
    """Decode a tensor.

    Args:
        proto: TensorProto, of this contract or of TensorFlow.
        name: Name of the tensor, for the error.

    Returns:
        Array of the tensor's shape; strings come as an object array of bytes. It may be read-only.

    Raises:
        TensorError: Unknown dtype or shape, or content that does not fit them.
    """
    shape = _shape(proto, name)
    count = 1
    for size in shape:
        count *= size
    if proto.dtype == DT_STRING:
        return _strings(proto, shape, count, name)
    if proto.dtype not in _NUMERIC:
        raise TensorError(f"{name}: {dtype_name(proto.dtype)} is not supported; known are {', '.join(_NUMBER_BY_NAME)}")
    dtype, field = _NUMERIC[proto.dtype]
    if proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise TensorError(
                f"{name}: {len(proto.tensor_content)} bytes of tensor_content do not fill shape {list(shape)} "
                f"of {dtype.name} ({count * dtype.itemsize} bytes); the sender's shape or dtype is wrong"
            )
        return np.frombuffer(proto.tensor_content, dtype=dtype).reshape(shape)
    return _typed(proto, dtype, field, count, name).reshape(shape)


def _shape(proto: Any, name: str) -> tuple[int, ...]:
    if proto.tensor_shape.unknown_rank:
        raise TensorError(f"{name}: the shape has no rank; a value needs a complete shape")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise TensorError(f"{name}: shape {list(shape)} has a negative size; a value needs a complete shape")
    return shape


def _encode(value: Any, name: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8")
    raise TensorError(f"{name}: {value!r} is {type(value).__name__}, not text; pass str or bytes")


def _repeat_last(values: list[Any], count: int, default: Any, field: str, name: str) -> list[Any]:
    if len(values) > count:
        raise TensorError(
            f"{name}: {len(values)} values in {field} for a shape of {count}; the sender's shape is wrong"
        )
    if len(values) < count:
        values = values + [values[-1] if values else default] * (count - len(values))
    return values


def _strings(proto: Any, shape: tuple[int, ...], count: int, name: str) -> "np.ndarray[Any, Any]":
    if proto.tensor_content:
        raise TensorError(f"{name}: strings in tensor_content are not supported; send them in string_val")
    _refuse_other_fields(proto, "string_val", name)
    array = np.empty(count, dtype=object)
    array[:] = _repeat_last(list(proto.string_val), count, b"", "string_val", name)
    return array.reshape(shape)


def _typed(proto: Any, dtype: "np.dtype[Any]", field: str, count: int, name: str) -> "np.ndarray[Any, Any]":
    values = list(getattr(proto, field))
    if not values:
        _refuse_other_fields(proto, field, name)
    if field in ("scomplex_val", "dcomplex_val"):
        if len(values) % 2:
            raise TensorError(f"{name}: {len(values)} numbers in {field}; complex values come in pairs")
        values = [complex(real, imaginary) for real, imaginary in zip(values[::2], values[1::2])]
    if field == "half_val":  # holds the sixteen bits as an integer
        bits = np.array(_repeat_last(values, count, 0, field, name), dtype=np.int64)
        _refuse_out_of_range(bits, np.dtype("uint16"), field, name)
        return bits.astype("<u2").view(dtype)
    values = _repeat_last(values, count, 0, field, name)
    if field == "int_val":
        wide = np.array(values, dtype=np.int64)
        _refuse_out_of_range(wide, dtype, field, name)
        return wide.astype(dtype)
    return np.array(values, dtype=dtype)


def _refuse_out_of_range(values: "np.ndarray[Any, Any]", dtype: "np.dtype[Any]", field: str, name: str) -> None:
    limits = np.iinfo(dtype)
    outside = values[(values < limits.min) | (values > limits.max)]
    if outside.size:
        raise TensorError(f"{name}: {outside[0]} in {field} does not fit {dtype.name}; the sender's dtype is wrong")


def _refuse_other_fields(proto: Any, field: str, name: str) -> None:
    for other in _TYPED_FIELDS:
        if other != field and len(getattr(proto, other)):
            raise TensorError(
                f"{name}: {dtype_name(proto.dtype)} values must be in {field}, found {other}; "
                "the sender's dtype is wrong"
            )
