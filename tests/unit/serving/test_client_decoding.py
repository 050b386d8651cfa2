"""What bytes of an answer become: every form that a server may send, and every damage. Needs no TensorFlow."""

import random

import numpy as np
import pytest

from crossrec.serving.client import ContractError
from crossrec.serving.client.decoding import Answer, rankings, recommendations
from crossrec.serving.client.wire import WireError, fields, packed_varints, varint
from crossrec.serving.contract import messages
from crossrec.serving.contract.tensors import to_tensor_proto

TEXTS = ["", "a", "ключ", "日本語", "x" * 300, "🎧"]


def response(version=3, typed=True, **outputs):
    message = messages.PredictResponse()
    message.model_spec.name = "m"
    message.model_spec.version.value = version
    for name, array in outputs.items():
        proto = to_tensor_proto(array)
        if typed and proto.tensor_content:
            field = {"float32": "float_val", "int64": "int64_val", "float64": "double_val"}[array.dtype.name]
            getattr(proto, field).extend(array.ravel().tolist())
            proto.tensor_content = b""
        message.outputs[name].CopyFrom(proto)
    return message.SerializeToString()


def lists(ids, scores, **more):
    return {"item_ids": np.array(ids, object), "scores": np.array(scores, np.float32), **more}


def read(payload, batch=1, limit=None):
    return recommendations(Answer(payload, batch), limit, 1.0, 1)


@pytest.mark.parametrize("typed", [True, False])
def test_typed_fields_and_content_are_the_same(typed):
    outputs = lists([["a", "b"]], [[2.5, -1.0]], model_version=np.array([7]), price=np.array([[1.0, 2.0]]))
    (result,) = read(response(typed=typed, **outputs))
    assert (result.ids, result.scores.tolist(), result.model_version) == (("a", "b"), [2.5, -1.0], 7)
    assert result.columns == {"price": [1.0, 2.0]}
    assert result.scores.dtype == np.float32


@pytest.mark.parametrize("count", [1, 2, 16, 17, 200])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_numbers_survive(count, dtype):
    rng = np.random.default_rng(count)
    values = rng.integers(-(2**62), 2**62, count) if dtype == "int64" else rng.normal(size=count).astype(dtype)
    payload = response(scores=np.zeros((1, count), np.float32), x=values[None])
    (result,) = rankings(Answer(payload, 1), [["i"] * count], 1.0, 1)
    assert result.columns["x"] == values.tolist()


@pytest.mark.parametrize("texts", [TEXTS, TEXTS * 40, ["a\0b", "c"], ["\0"], ["\0", "\0\0"]])
def test_texts_survive(texts):
    ids = [[f"i{number}" for number in range(len(texts))]] * 2
    outputs = lists(ids, np.zeros((2, len(texts))), title=np.array([texts, texts[::-1]], object))
    first, second = read(response(**outputs), batch=2)
    assert first.columns["title"] == texts
    assert second.columns["title"] == texts[::-1]


def test_a_damaged_text_does_not_cost_the_answer():
    outputs = lists([["a", "b"]], [[1.0, 0.0]], title=np.array([[b"\xff\xfe", "fine"]], object))
    (result,) = read(response(**outputs))
    assert result.columns["title"] == ["\ufffd\ufffd", "fine"]


def test_a_short_field_repeats_its_last_value():
    message = messages.PredictResponse.FromString(response(**lists([["a", "b", "c"]], [[1.0, 1.0, 1.0]])))
    del message.outputs["scores"].float_val[1:]
    (result,) = read(message.SerializeToString())
    assert result.scores.tolist() == [1.0, 1.0, 1.0]


def test_padding_and_limit():
    outputs = lists(
        [["a", "b", ""], ["", "c", ""]], [[3, 2, -np.inf], [-np.inf, 1, -np.inf]], n=np.arange(6).reshape(2, 3)
    )
    first, second = read(response(**outputs), batch=2)
    assert (first.ids, first.scores.tolist(), first.columns["n"]) == (("a", "b"), [3.0, 2.0], [0, 1])
    assert (second.ids, second.scores.tolist(), second.columns["n"]) == (("c",), [1.0], [4])
    assert read(response(**outputs), batch=2, limit=1)[0].columns == {"n": [0]}
    assert [item.attributes["n"] for item in first.items] == [0, 1]


def test_results_do_not_hang_on_the_bytes_of_the_answer():
    (result,) = read(response(**lists([["a"]], [[1.0]])))
    result.scores[0] = 5.0
    assert result.scores.tolist() == [5.0]


def test_the_servers_version_counts_where_the_model_names_none():
    assert read(response(version=11, **lists([["a"]], [[1.0]])))[0].model_version == 11


@pytest.mark.parametrize(
    ("outputs", "batch", "problem"),
    [
        ({}, 1, "no output 'item_ids'"),
        (lists([["a"]], [[1.0, 2.0]]), 1, "differ"),
        (lists([["a"]], [[1.0]]), 2, "for a batch of 2"),
        (lists(["a"], [1.0]), 1, "gives it rank 2"),
        ({**lists([["a"]], [[1.0]]), "item_ids": np.array([[1]])}, 1, "is int64, the contract says string"),
        ({**lists([["a"]], [[1.0]]), "scores": np.array([["x"]], object)}, 1, "scores is string"),
    ],
)
def test_an_answer_beyond_the_contract_is_refused(outputs, batch, problem):
    with pytest.raises(ContractError, match=problem):
        read(response(**outputs), batch)


@pytest.mark.filterwarnings("ignore:Unexpected end-group tag")
def test_damaged_bytes_are_refused_and_never_hang():
    source = random.Random(0)
    payload = response(
        **lists([["a", "bb"]], [[2.0, 1.0]], model_version=np.array([1]), title=np.array([["x", "y"]], object))
    )
    outcomes = {"read": 0, "refused": 0}
    for _ in range(4000):
        damaged = bytearray(payload)
        for _ in range(source.randint(1, 4)):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        if source.random() < 0.3:
            del damaged[source.randrange(len(damaged)) :]
        try:
            read(bytes(damaged))
            outcomes["read"] += 1
        except ContractError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 1000 and outcomes["read"] > 10


def test_numbers_of_the_wire_format():
    for value in [0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1]:
        assert list(packed_varints(varint(value), 0, len(varint(value)))) == [value]
    for broken in (b"\x80", b"\xff" * 11, b"\x0a\x05ab", b"\x0b", b"\x09\x00"):
        with pytest.raises(WireError):
            list(fields(broken, 0, len(broken)))


def test_field_numbers_are_those_of_the_descriptors():
    number = lambda message, field: message.DESCRIPTOR.fields_by_name[field].number  # noqa: E731
    tensor = messages.TensorProto
    assert [number(tensor, name) for name in ("dtype", "tensor_shape", "tensor_content", "float_val")] == [1, 2, 4, 5]
    assert [number(tensor, name) for name in ("string_val", "int64_val")] == [8, 10]
    assert number(messages.PredictRequest, "inputs") == 2
    assert [number(messages.PredictResponse, name) for name in ("outputs", "model_spec")] == [1, 2]
    assert number(messages.ModelSpec, "version") == 2
