"""Requests at the end of a server's life, more requests than threads, and what answers as a health check."""

import threading
import time

import grpc
import numpy as np
import pytest

from tests.unit.serving.make_models import copy_version
from tests.unit.serving.serve_here import serve_here, until

X = {"x": np.array([10.0], np.float32)}
SLOW = {"x": np.array([150_000.0], np.float32)}


@pytest.fixture
def base_path(adder_path, tmp_path):
    copy_version(adder_path / "1", tmp_path, "1")
    return tmp_path


def test_a_stop_lets_the_requests_under_way_finish(base_path):
    with serve_here(base_path) as server:
        caller, answers = server.caller(), []
        slow = threading.Thread(target=lambda: answers.append(caller.outputs(SLOW, "slow")["y"].tolist()))
        slow.start()
        time.sleep(0.2)
        assert slow.is_alive(), "the request must outlast the stop for this test to say anything"
        server.stopping.set()
        until(lambda: _code(caller) is grpc.StatusCode.UNAVAILABLE)
        slow.join()
        server.thread.join(20)
        assert server.exit_code == 0
    assert answers == [[300_000.0]]


def _code(caller):
    try:
        caller.predict(X)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_more_requests_than_threads_wait_their_turn(base_path):
    with serve_here(base_path, max_threads=1) as server:
        caller, answers = server.caller(), []
        threads = [threading.Thread(target=lambda: answers.append(caller.outputs(X)["y"].tolist())) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [[11.0]] * 12


def test_who_waited_past_the_deadline_is_not_served(base_path):
    with serve_here(base_path, max_threads=1) as server:
        caller = server.caller()
        slow = threading.Thread(target=lambda: caller.outputs(SLOW, "slow"))
        slow.start()
        time.sleep(0.1)
        start = time.monotonic()
        late = [threading.Thread(target=lambda: _too_late(caller)) for _ in range(3)]
        for thread in late:
            thread.start()
        for thread in late:
            thread.join()
        assert slow.is_alive(), "they must give up before their turn comes for this test to say anything"
        slow.join()
        alone = time.monotonic() - start
        # The three would take three times as long once more, were they run all the same.
        start = time.monotonic()
        caller.outputs(X)
        assert time.monotonic() - start < alone


def _too_late(caller):
    from crossrec.serving.contract import messages as wire
    from crossrec.serving.contract.tensors import to_tensor_proto

    request = wire.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", "slow"
    request.inputs["x"].CopyFrom(to_tensor_proto(SLOW["x"]))
    with pytest.raises(grpc.RpcError) as caught:
        caller.channel.unary_unary(wire.PREDICT_METHOD)(request.SerializeToString(), timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_there_is_no_health_service_and_status_stands_in(base_path):
    with serve_here(base_path) as server:
        caller = server.caller()
        with pytest.raises(grpc.RpcError) as caught:
            caller.channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert caller.statuses() == {1: "AVAILABLE"}
