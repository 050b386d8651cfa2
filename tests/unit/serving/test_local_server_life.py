"""Requests at the end of a server's life, more requests than threads, and what answers as a health check."""

import threading
import time

import grpc
import numpy as np
import pytest

from tests.unit.serving.make_models import copy_version
from tests.unit.serving.serve_here import PATIENCE, Gate, serve_here, until

X = {"x": np.array([10.0], np.float32)}
LATE = 8.0


@pytest.fixture
def base_path(adder_path, tmp_path):
    copy_version(adder_path / "1", tmp_path, "1")
    return tmp_path


def test_a_stop_lets_the_requests_under_way_finish(base_path):
    gate = Gate()
    with serve_here(base_path, gate=gate) as server:
        caller = server.caller()
        with gate.holding(caller) as answers:
            server.stopping.set()
            until(lambda: _code(caller) is grpc.StatusCode.UNAVAILABLE)
            assert server.thread.is_alive() and answers == []
        server.thread.join(PATIENCE)
        assert server.exit_code == 0
    assert [one["y"].tolist() for one in answers] == [[8.0]]


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
    gate = Gate()
    with serve_here(base_path, gate=gate, max_threads=1) as server:
        caller = server.caller()
        with gate.holding(caller) as answers:
            late = [threading.Thread(target=_too_late, args=(caller,)) for _ in range(3)]
            for thread in late:
                thread.start()
            for thread in late:
                thread.join()
            time.sleep(0.5)  # the server hears a moment later that they have gone
        assert [one["y"].tolist() for one in answers] == [[8.0]]
        assert caller.outputs(X)["y"].tolist() == [11.0]
    assert gate.passed == [Gate.HELD, 10.0], "the three are not run all the same"


def _too_late(caller):
    from crossrec.serving.contract import messages as wire
    from crossrec.serving.contract.tensors import to_tensor_proto

    request = wire.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].CopyFrom(to_tensor_proto(np.array([LATE], np.float32)))
    with pytest.raises(grpc.RpcError) as caught:
        caller.channel.unary_unary(wire.PREDICT_METHOD)(request.SerializeToString(), timeout=0.5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_there_is_no_health_service_and_status_stands_in(base_path):
    with serve_here(base_path) as server:
        caller = server.caller()
        with pytest.raises(grpc.RpcError) as caught:
            caller.channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=PATIENCE)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert caller.statuses() == {1: "AVAILABLE"}
