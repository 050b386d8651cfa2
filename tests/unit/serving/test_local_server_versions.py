"""Versions that come, go, are corrupt, warm up, and change under load."""

import shutil
import threading
import time

import grpc
import numpy as np
import pytest

from crossrec.serving.contract import names
from crossrec.serving.contract.prediction_logs import predict_request, prediction_log, write_prediction_logs
from crossrec.serving.contract.tfrecord import write_records
from tests.unit.serving.make_models import copy_version, corrupt
from tests.unit.serving.serve_here import PATIENCE, Gate, RunningServer, serve_here, until

X = {"x": np.array([10.0], np.float32)}
CODES = {code.value[0]: code.name for code in grpc.StatusCode}


@pytest.fixture
def base_path(adder_path, tmp_path):
    copy_version(adder_path / "1", tmp_path, "1")
    return tmp_path


def publish(adder_path, base_path, version, name=None):
    return copy_version(adder_path / str(version), base_path, name or str(version))


def test_a_new_version_replaces_the_old_one(adder_path, base_path):
    with serve_here(base_path) as server:
        caller = server.caller()
        assert caller.outputs(X)["y"].tolist() == [11.0]
        publish(adder_path, base_path, 2)
        caller.wait_for({2: "AVAILABLE", 1: "END"})
        assert list(caller.statuses()) == [2, 1], "versions come in falling order"
        assert caller.outputs(X)["y"].tolist() == [12.0]
        with pytest.raises(grpc.RpcError, match="Specific"):
            caller.predict(X, version=1)


def test_a_lower_version_and_other_names_are_ignored(adder_path, base_path):
    shutil.move(base_path / "1", base_path / "007")
    with serve_here(base_path) as server:
        caller = server.caller()
        publish(adder_path, base_path, 3)
        publish(adder_path, base_path, 4, "v9")
        time.sleep(0.3)
        assert caller.statuses() == {7: "AVAILABLE"}
        assert caller.outputs(X, version=7)["y"].tolist() == [11.0]


def test_a_removed_version_gives_way_to_the_next_and_may_come_back(adder_path, base_path):
    with serve_here(base_path) as server:
        caller = server.caller()
        publish(adder_path, base_path, 2)
        caller.wait_for({2: "AVAILABLE", 1: "END"})
        shutil.rmtree(base_path / "2")
        caller.wait_for({2: "END", 1: "AVAILABLE"})
        publish(adder_path, base_path, 2)
        caller.wait_for({2: "AVAILABLE", 1: "END"})


def test_an_empty_base_path_unloads_and_a_missing_one_does_not(base_path):
    with serve_here(base_path) as server:
        caller = server.caller()
        shutil.move(base_path, base_path.with_name("away"))
        time.sleep(0.3)
        assert caller.outputs(X)["y"].tolist() == [11.0]
        base_path.mkdir()
        caller.wait_for({1: "END"})
        with pytest.raises(grpc.RpcError, match="Latest"):
            caller.predict(X)


def test_a_corrupt_version_ends_with_its_error_while_the_old_one_serves(adder_path, base_path):
    with serve_here(base_path) as server:
        caller = server.caller()
        staged = publish(adder_path, base_path, 2, "new")
        corrupt(staged)
        staged.rename(base_path / "2")
        caller.wait_for({2: "END", 1: "AVAILABLE"})
        failed = caller.status_of(2).status
        assert CODES[failed.error_code] == "DATA_LOSS"
        assert "saved_model.pb" in failed.error_message
        assert caller.outputs(X)["y"].tolist() == [11.0]
        # Neither mended in place nor removed and added again is it tried again; a higher number is.
        shutil.copy(adder_path / "2" / "saved_model.pb", base_path / "2")
        time.sleep(0.3)
        shutil.rmtree(base_path / "2")
        time.sleep(0.3)
        publish(adder_path, base_path, 2)
        time.sleep(0.3)
        assert caller.statuses() == {2: "END", 1: "AVAILABLE"}
        publish(adder_path, base_path, 3)
        caller.wait_for({3: "AVAILABLE", 2: "END", 1: "END"})


@pytest.mark.parametrize(("missing", "code"), [("saved_model.pb", "NOT_FOUND"), ("variables", None)])
def test_an_incomplete_version_fails(bundle_path, base_path, missing, code):
    with serve_here(base_path) as server:
        caller = server.caller()
        staged = copy_version(bundle_path / "3", base_path, "new")
        target = staged / missing
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        staged.rename(base_path / "3")
        caller.wait_for({3: "END", 1: "AVAILABLE"})
        failed = caller.status_of(3).status
        assert failed.error_code and failed.error_message
        assert code in (None, CODES[failed.error_code])


def test_a_failed_load_is_loading_during_its_retries(adder_path, base_path):
    with serve_here(base_path, max_load_retries=100_000, retry_seconds=0.1) as server:
        caller = server.caller()
        staged = publish(adder_path, base_path, 2, "new")
        corrupt(staged)
        staged.rename(base_path / "2")
        caller.wait_for({2: "LOADING", 1: "AVAILABLE"})
        shutil.copy(adder_path / "2" / "saved_model.pb", base_path / "2")
        caller.wait_for({2: "AVAILABLE", 1: "END"})


def test_a_newer_version_ends_the_retries(adder_path, base_path):
    with serve_here(base_path, max_load_retries=50, retry_seconds=3600) as server:
        caller = server.caller()
        staged = publish(adder_path, base_path, 2, "new")
        corrupt(staged)
        staged.rename(base_path / "2")
        caller.wait_for({2: "LOADING", 1: "AVAILABLE"})
        publish(adder_path, base_path, 3)
        caller.wait_for({3: "AVAILABLE", 2: "END", 1: "END"})


def test_the_port_stays_closed_until_a_version_is_there(adder_path, tmp_path):
    with serve_here(tmp_path / "later") as server:
        assert not server.ready.wait(0.3)
        (tmp_path / "later").mkdir()
        assert not server.ready.wait(0.3)
        publish(adder_path, tmp_path / "later", 2)
        assert server.caller().outputs(X)["y"].tolist() == [12.0]


def test_a_corrupt_first_version_ends_the_server(base_path, capfd):
    corrupt(base_path / "1")
    server = RunningServer(base_path)
    assert server.ready.wait(PATIENCE)
    assert (server.target, server.exit_code) == ("", 255)
    error = capfd.readouterr().err
    assert "1 servable(s) did not become available: {{{name: m version: 1} due to error: DATA_LOSS: " in error


def warmup(path, inputs, count=1, signature="serving_default"):
    log = prediction_log(predict_request(inputs, "another name", signature))
    # write_records, since write_prediction_logs refuses more than Serving takes.
    file = path / names.EXTRA_ASSETS_DIRECTORY / names.WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    write_records(file, [log.SerializeToString()] * count)


@pytest.mark.parametrize("kind", ["none", "empty", "one", "thousand"])
def test_sound_warmup_lets_a_version_through(adder_path, base_path, kind):
    with serve_here(base_path) as server:
        caller = server.caller()
        staged = publish(adder_path, base_path, 2, "new")
        if kind != "none":
            warmup(staged, X, {"empty": 0, "one": 1, "thousand": 1000}[kind])
        staged.rename(base_path / "2")
        caller.wait_for({2: "AVAILABLE", 1: "END"})


def broken_warmups():
    def file(path):
        target = path / names.EXTRA_ASSETS_DIRECTORY / names.WARMUP_FILE
        target.parent.mkdir(exist_ok=True)
        return target

    yield "too many", "INVALID_ARGUMENT", lambda path: warmup(path, X, 1001)
    yield "wrong input", "INVALID_ARGUMENT", lambda path: warmup(path, {"z": X["x"]})
    yield "no such signature", "FAILED_PRECONDITION", lambda path: warmup(path, X, 1, "nosig")
    yield "no TFRecord", "DATA_LOSS", lambda path: file(path).write_bytes(b"hello, this is just text")
    yield "no PredictionLog", "INVALID_ARGUMENT", lambda path: write_records(file(path), [b"\xff\xff"])
    yield "a directory", "FAILED_PRECONDITION", lambda path: file(path).mkdir()


@pytest.mark.parametrize(
    ("_name", "code", "spoil"), list(broken_warmups()), ids=[name for name, *_ in broken_warmups()]
)
def test_broken_warmup_fails_the_load(adder_path, base_path, _name, code, spoil):
    with serve_here(base_path) as server:
        caller = server.caller()
        staged = publish(adder_path, base_path, 2, "new")
        spoil(staged)
        staged.rename(base_path / "2")
        caller.wait_for({2: "END", 1: "AVAILABLE"})
        assert CODES[caller.status_of(2).status.error_code] == code


def test_an_old_version_ends_after_its_last_request(adder_path, base_path):
    gate = Gate()
    with serve_here(base_path, gate=gate) as server:
        caller = server.caller()
        with gate.holding(caller) as answers:
            publish(adder_path, base_path, 2)
            caller.wait_for({2: "AVAILABLE", 1: "UNLOADING"})
            assert caller.outputs(X)["y"].tolist() == [12.0]
            assert answers == []
        assert [one["y"].tolist() for one in answers] == [[Gate.HELD + 1]]
        caller.wait_for({2: "AVAILABLE", 1: "END"})


def test_swaps_under_load_lose_no_request(adder_path, base_path):
    problems, answers, stopping = [], {}, threading.Event()

    def ask(caller):
        while not stopping.is_set():
            try:
                response = caller.outputs(X)
            except grpc.RpcError as error:
                problems.append(error)
                return
            version = int(response["version"][0])
            answers[version] = answers.get(version, 0) + 1
            # Version n of the numbers below is a copy of adder 1 + n % 4.
            if response["y"].tolist() != [10.0 + version]:
                problems.append(response)

    with serve_here(base_path, poll_seconds=0.02) as server:
        callers = [server.caller() for _ in range(4)]
        threads = [threading.Thread(target=ask, args=(caller,)) for caller in callers]
        for thread in threads:
            thread.start()
        for number in range(2, 14):
            adder = 1 + number % 4
            publish(adder_path, base_path, adder, str(number))
            until(lambda number=number: callers[0].statuses().get(number) == "AVAILABLE")
            before = answers.get(adder, 0)
            until(lambda: problems or answers.get(adder, 0) > before)  # noqa: B023 - called at once
            if number % 3 == 0:  # roll back by removing the newest
                shutil.rmtree(base_path / str(number))
                until(lambda number=number: callers[0].statuses().get(number) == "END")
            elif number > 2:
                shutil.rmtree(base_path / str(number - 2), ignore_errors=True)
        stopping.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert set(answers) == {1, 2, 3, 4}


def test_predictions_run_at_the_same_time(base_path):
    gate = Gate()
    with serve_here(base_path, gate=gate) as server:
        caller = server.caller()
        # Some seconds in one call of TensorFlow. A short request must not wait for a long one.
        answers, slow = [], {"x": np.array([400_000.0], np.float32)}
        thread = threading.Thread(target=lambda: answers.append(caller.outputs(slow, "slow")["y"].tolist()))
        thread.start()
        until(lambda: 400_000.0 in gate.passed)
        assert caller.outputs(X)["y"].tolist() == [11.0]
        assert answers == []
        thread.join()
        assert answers == [[800_000.0]]


def test_a_warmup_file_of_the_contract_is_replayed(bundle_path, base_path):
    write_prediction_logs(
        base_path / "1" / names.EXTRA_ASSETS_DIRECTORY / names.WARMUP_FILE, [prediction_log(predict_request(X))]
    )
    with serve_here(base_path) as server:
        assert server.caller().statuses() == {1: "AVAILABLE"}
