"""What a request becomes on the wire: filled, padded, or refused. Needs no TensorFlow."""

import math

import numpy as np
import pytest

from crossrec.serving.client import ContractError, InputSpec, Request, RequestError, SignatureSpec
from crossrec.serving.client.encoding import SignatureEncoder, as_inputs
from crossrec.serving.contract.messages import PredictRequest
from crossrec.serving.contract.tensors import to_array, to_tensor_proto

INPUTS = {
    "user_id": ("string", (None,)),
    "price_max": ("float32", (None,)),
    "timestamp": ("int64", (None,)),
    "interests": ("string", (None, None)),
    "recent_items": ("string", (None, 3)),
    "prices": ("float32", (None, None)),
    "hours": ("int32", (None, 2)),
    "exclude_items": ("string", (None, None)),
}
SIGNATURE = SignatureSpec({name: InputSpec(name, *spec) for name, spec in INPUTS.items()}, {})


def encode(*requests, signature=SIGNATURE):
    message = PredictRequest.FromString(SignatureEncoder(signature).encode([as_inputs(one) for one in requests]))
    return {name: to_array(proto) for name, proto in message.inputs.items()}


def test_every_input_is_sent_and_missing_ones_say_so():
    arrays = encode({})
    assert set(arrays) == set(INPUTS)
    assert arrays["user_id"].tolist() == [b""]
    assert math.isnan(arrays["price_max"][0])
    assert arrays["timestamp"].tolist() == [0]
    assert arrays["interests"].shape == (1, 0)
    assert arrays["recent_items"].tolist() == [[b"", b"", b""]]
    assert arrays["hours"].tolist() == [[0, 0]]
    for name, (dtype, shape) in INPUTS.items():
        assert arrays[name].ndim == len(shape)
        assert dtype == "string" or arrays[name].dtype == dtype


def test_none_means_missing_everywhere():
    none = encode(dict.fromkeys(INPUTS))
    for name, array in encode({}).items():
        np.testing.assert_array_equal(none[name], array)
    assert encode({"interests": ["a", None]})["interests"].tolist() == [[b"a", b""]]


def test_lists_are_padded_to_the_longest_of_the_batch():
    arrays = encode({"interests": ["a", "b"], "prices": [1.0]}, {"interests": ("ж",)}, {})
    assert arrays["interests"].tolist() == [[b"a", b"b"], ["ж".encode(), b""], [b"", b""]]
    assert arrays["prices"].shape == (3, 1)
    assert arrays["prices"][0, 0] == 1.0
    assert np.isnan(arrays["prices"][1:]).all()


def test_a_request_object_and_a_mapping_are_the_same():
    one = encode(Request({"user_id": "u"}, exclude_items=["a", "b"]))
    two = encode({"user_id": "u", "exclude_items": ["a", "b"]})
    for name in INPUTS:
        np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("price_max", 3, 3.0),
        ("price_max", np.float64(2.5), 2.5),
        ("price_max", float("inf"), float("inf")),
        ("timestamp", np.int32(7), 7),
        ("timestamp", -(2**63), -(2**63)),
        ("user_id", b"raw", b"raw"),
        ("user_id", "日本", "日本".encode()),
    ],
)
def test_values_that_fit_are_taken(name, value, expected):
    assert encode({name: value})[name].tolist() == [expected]


def test_arrays_are_lists():
    assert encode({"interests": np.array(["a", "b"])})["interests"].tolist() == [[b"a", b"b"]]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("user_id", 17, "is int, the input is string"),
        ("user_id", ["u"], "not multi-valued"),
        ("user_id", "\ud800", "no valid text"),
        ("price_max", "3", "is str, the input is float32"),
        ("price_max", True, "is bool"),
        ("price_max", 1e39, "does not fit float32"),
        ("price_max", 10**400, "does not fit float32"),
        ("timestamp", 1.5, "is float, the input is int64"),
        ("timestamp", True, "is bool"),
        ("timestamp", 2**63, "does not fit int64"),
        ("hours", [2**31], "does not fit int32"),
        ("interests", "sport", "Pass a list"),
        ("interests", {"a": 1}, "Pass a list"),
        ("interests", {"a"}, "Pass a list"),
        ("interests", ["a", 3], "holds 3, which is int"),
        ("recent_items", ["a", "b", "c", "d"], "has 4 values, the model takes 3"),
        ("colour", "red", "Known inputs: user_id"),
    ],
)
def test_what_does_not_fit_is_refused_with_field_value_and_mend(name, value, problem):
    with pytest.raises(RequestError) as caught:
        encode({"user_id": "u"}, {name: value})
    error = caught.value
    assert (error.field, error.value) == (name, value)
    assert problem in str(error)
    assert error.mend in str(error) and error.mend
    assert str(error).startswith(f"{name}=")
    assert len(str(error)) < 600


def test_a_request_that_is_no_mapping_is_refused():
    with pytest.raises(RequestError, match="request="):
        encode("user")


ODD_TEXTS = ["", "a", "x" * 127, "x" * 128, "x" * 70_000, "ж" * 63, "ж" * 64, "\x00", "日本", "🎧", "B\x05"]


@pytest.mark.parametrize("count", [0, 1, 2, 11, 500])
def test_texts_of_any_length_and_script_survive(count):
    texts = (ODD_TEXTS * 50)[:count]
    assert encode({"interests": texts})["interests"].tolist() == [[text.encode() for text in texts]]
    ascii_only = [f"item{number}" for number in range(count)]
    assert encode({"interests": ascii_only})["interests"].tolist() == [[text.encode() for text in ascii_only]]


def test_the_bytes_are_those_of_the_message_classes():
    rows = [{"user_id": "ü", "interests": ["a", "x" * 300], "prices": [1.5, 2.0], "hours": [7]}, {"timestamp": -3}]
    written = SignatureEncoder(SIGNATURE).encode(rows)
    message = PredictRequest()
    for name, array in encode(*rows).items():
        message.inputs[name].CopyFrom(to_tensor_proto(array))
    assert PredictRequest.FromString(written) == message


def test_a_batch_does_not_disturb_the_next():
    encoder = SignatureEncoder(SIGNATURE)
    rows = [[{}], [{"user_id": "a", "interests": ["b"]}, {}], [{}, {}], [{}]]
    alone = [SignatureEncoder(SIGNATURE).encode(batch) for batch in rows]
    assert [encoder.encode(batch) for batch in rows] == alone
    assert alone[0] == alone[3] != alone[2]


@pytest.mark.parametrize(
    ("dtype", "shape"), [("bool", (None,)), ("float32", ()), ("string", None), ("int8", (None, 2))]
)
def test_an_input_beyond_the_contract_is_refused(dtype, shape):
    with pytest.raises(ContractError, match="not of the contract"):
        encode({}, signature=SignatureSpec({"x": InputSpec("x", dtype, shape)}, {}))
