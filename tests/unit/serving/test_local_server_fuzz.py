"""A few hundred malformed requests; `python -m tests.benchmarks.server_fuzz` sends ten thousand."""

import numpy as np
import pytest

from crossrec.serving.contract.messages import TensorProto
from tests.benchmarks.server_fuzz import Fuzzer, fuzz, sound_request


@pytest.mark.filterwarnings("ignore:Unexpected end-group tag")
def test_malformed_requests_get_the_right_code_and_the_server_lives(adder):
    found = fuzz(adder.target, 400, 1, sound_request(adder.target, "m"))
    assert (found["wrong"], found["unsound"]) == ([], 0)
    # Requests of every kind were among them, or the test would say little.
    assert {"code_OK", "code_INVALID_ARGUMENT", "code_INTERNAL", "code_NOT_FOUND"} <= set(found)
    assert found["code_INVALID_ARGUMENT"] > 100


def test_the_same_seed_makes_the_same_requests():
    one, two, other = Fuzzer(3), Fuzzer(3), Fuzzer(4)
    made = [one.request() for _ in range(20)]
    assert made == [two.request() for _ in range(20)]
    assert made != [other.request() for _ in range(20)]


def test_an_empty_tensor_with_an_absurd_size(adder):
    proto = TensorProto(dtype=7)
    for size in (7, 0, 2**63 - 1):
        proto.tensor_shape.dim.add().size = size
    with pytest.raises(Exception, match="tensor parsing error: x|Expects arg"):
        adder.predict({"x": proto})


@pytest.mark.parametrize("shape", [[2**40], [2**31], [2**20, 2**20], [2**62, 4], [-1, -1]])
@pytest.mark.parametrize("number", [1, 7])
def test_a_few_bytes_cannot_ask_for_all_memory(adder, shape, number):
    # TensorFlow repeats the last value until the shape is full.
    proto = TensorProto(dtype=number, float_val=[1.0] if number == 1 else [], string_val=[b"a"] if number == 7 else [])
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    with pytest.raises(Exception, match="tensor parsing error: x"):
        adder.predict({"x": proto})
    assert adder.outputs({"x": np.array([1.0], np.float32)})["y"].tolist() == [3.0]
