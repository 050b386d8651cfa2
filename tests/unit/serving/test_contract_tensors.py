"""The codec is its own inverse, agrees with TensorFlow's, and refuses what does not fit."""

import numpy as np
import pytest

from crossrec.serving.contract.messages import TensorProto
from crossrec.serving.contract.tensors import TensorError, string_tensor, to_array, to_tensor_proto

NUMERIC = [
    "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128",
]  # fmt: skip
SHAPES = [(), (0,), (1,), (7,), (0, 3), (2, 0), (2, 3), (2, 1, 4)]
TEXTS = ["", "a", "ключ", "日本語", "e\u0301", "\x00inner\x00", "🎧" * 50, "a,b|c;d", "\n"]


def sample(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    values = rng.normal(size=shape) * 100
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.normal(size=shape)
    return np.asarray(values).astype(dtype)


def same(left, right):
    assert left.dtype == right.dtype
    assert left.shape == right.shape
    np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("dtype", NUMERIC)
@pytest.mark.parametrize("shape", SHAPES)
def test_numbers_survive_the_round_trip(dtype, shape):
    array = sample(dtype, shape)
    proto = TensorProto.FromString(to_tensor_proto(array).SerializeToString())
    same(to_array(proto), array)


@pytest.mark.parametrize("dtype", NUMERIC)
def test_numbers_agree_with_tensorflow_both_ways(tensorflow, dtype):
    from tensorflow.core.framework import tensor_pb2

    array = sample(dtype, (3, 2), seed=1)
    theirs = tensor_pb2.TensorProto.FromString(to_tensor_proto(array).SerializeToString())
    same(tensorflow.make_ndarray(theirs), array)
    ours = TensorProto.FromString(tensorflow.make_tensor_proto(array).SerializeToString())
    same(to_array(ours), array)


@pytest.mark.parametrize("dtype", NUMERIC)
def test_typed_fields_are_read_as_tensorflow_writes_them(tensorflow, dtype):
    # A single value is written in its typed field, and stands for all when the shape is larger.
    proto = tensorflow.make_tensor_proto(sample(dtype, ()), shape=[2, 3])
    ours = to_array(TensorProto.FromString(proto.SerializeToString()))
    same(ours, tensorflow.make_ndarray(proto))


@pytest.mark.parametrize("shape", [(0,), (len(TEXTS),), (3, 3), (0, 4)])
def test_text_survives_the_round_trip(shape):
    count = int(np.prod(shape))
    texts = np.array(TEXTS[:count], dtype=object).reshape(shape)
    proto = TensorProto.FromString(to_tensor_proto(texts).SerializeToString())
    decoded = to_array(proto)
    assert decoded.shape == shape
    assert [cell.decode() for cell in decoded.ravel()] == TEXTS[:count]


def test_text_agrees_with_tensorflow(tensorflow):
    from tensorflow.core.framework import tensor_pb2

    theirs = tensor_pb2.TensorProto.FromString(to_tensor_proto(np.array(TEXTS, dtype=object)).SerializeToString())
    assert [cell.decode() for cell in tensorflow.make_ndarray(theirs)] == TEXTS


def test_big_endian_and_strided_arrays_are_sent_by_value():
    array = np.arange(12, dtype=">i8").reshape(3, 4)[:, ::2]
    assert to_array(to_tensor_proto(array)).tolist() == [[0, 2], [4, 6], [8, 10]]


@pytest.mark.parametrize("bad", [np.array([1, "a"], dtype=object), np.array(["2024-01-01"], dtype="datetime64[D]")])
def test_what_has_no_place_in_the_contract_is_refused(bad):
    with pytest.raises(TensorError, match="price"):
        to_tensor_proto(bad, "price")


def proto_of(dtype, shape, **fields):
    proto = TensorProto(dtype=dtype, **fields)
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    return proto


@pytest.mark.parametrize(
    ("proto", "why"),
    [
        (proto_of(1, [2], tensor_content=b"123"), "3 bytes"),
        (proto_of(1, [-1], float_val=[1.0]), "negative"),
        (proto_of(1, [1], float_val=[1.0, 2.0]), "2 values"),
        (proto_of(1, [1], int_val=[1]), "must be in float_val"),
        (proto_of(4, [1], int_val=[256]), "does not fit uint8"),
        (proto_of(7, [1], tensor_content=b"\x01a"), "string_val"),
        (proto_of(7, [1], int_val=[1]), "must be in string_val"),
        (proto_of(8, [1], scomplex_val=[1.0]), "pairs"),
        (proto_of(14, [1]), "DataType 14"),
        (proto_of(0, [1]), "DataType 0"),
    ],
)
def test_a_malformed_tensor_is_refused_by_name(proto, why):
    with pytest.raises(TensorError, match=why) as caught:
        to_array(proto, "scores")
    assert str(caught.value).startswith("scores: ")


def test_a_shape_without_rank_is_refused():
    proto = TensorProto(dtype=1)
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(TensorError, match="no rank"):
        to_array(proto)


def test_short_string_fields_repeat_their_last_value():
    proto = string_tensor([b"a", b"b"], [4])
    assert to_array(proto).tolist() == [b"a", b"b", b"b", b"b"]
