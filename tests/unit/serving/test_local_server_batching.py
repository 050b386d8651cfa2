"""Batching: what is refused, and that joined requests get the answers that each would get alone."""

import threading

import grpc
import numpy as np
import pytest

from crossrec.serving.contract.tensors import to_array
from crossrec.serving.local_server.batching import BatchingConfig, BatchScheduler, read_batching_config
from crossrec.serving.local_server.servable import LoadOptions
from crossrec.serving.local_server.statuses import StatusError
from tests.unit.serving.make_models import copy_version
from tests.unit.serving.serve_here import PATIENCE, RunningServer, serve_here, until

Code = grpc.StatusCode


def column(*values):
    return {"x": np.array(values, np.float32)}


def refused(call, *args, **kwargs):
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **kwargs)
    return caught.value.code(), caught.value.details()


@pytest.fixture(scope="module")
def caller(adder_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("batched")
    copy_version(adder_path / "2", path, "2")
    scheduler = BatchScheduler(BatchingConfig(max_batch_size=4, timeout_seconds=0.02, threads=2))
    with serve_here(path, load_options=LoadOptions(scheduler=scheduler)) as server:
        yield server.caller()


def test_an_oversized_request(caller):
    assert refused(caller.predict, column(*range(5))) == (
        Code.INVALID_ARGUMENT,
        "Task size 5 is larger than maximum input batch size 4",
    )
    assert caller.outputs(column(1, 2, 3, 4))["y"].tolist() == [3, 4, 5, 6]


def test_a_scalar_input(caller):
    assert refused(caller.predict, {"x": np.float32(1)}) == (
        Code.INVALID_ARGUMENT,
        "Batching Run() input tensors must have at least one dimension",
    )


def test_inputs_of_different_sizes(caller):
    inputs = {"a": np.ones((1, 3), np.float32), "b": np.ones((2, 3), np.float32)}
    assert refused(caller.predict, inputs, "matrix") == (
        Code.INVALID_ARGUMENT,
        "Batching Run() input tensors must have equal 0th-dimension size",
    )


def test_a_part_of_the_outputs_is_run_alone(caller):
    # Only requests for all outputs of a signature are batched, so the limit does not count here.
    response = caller.predict(column(*range(6)), output_filter=["y"])
    assert to_array(response.outputs["y"]).tolist() == [2, 3, 4, 5, 6, 7]


def test_every_request_gets_its_own_rows(caller):
    answers, problems = {}, []

    def ask(number):
        size = 1 + number % 3
        values = [float(100 * number + row) for row in range(size)]
        try:
            answers[number] = (values, caller.outputs(column(*values))["y"].tolist())
        except grpc.RpcError as error:
            problems.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(answers) == 24
    assert all(got == [value + 2 for value in asked] for asked, got in answers.values())


def test_a_wrong_dtype_spoils_no_other_request(caller):
    answers = []
    wrong = threading.Thread(target=lambda: answers.append(refused(caller.predict, {"x": np.array([1], np.int32)})))
    wrong.start()
    assert caller.outputs(column(1))["y"].tolist() == [3]
    wrong.join()
    assert answers == [(Code.INVALID_ARGUMENT, "Expects arg[0] to be float but int32 is provided")]


def gather(scheduler, run, requests, key="k"):
    """Run requests at the same time; the answers, or the errors' codes, in their order."""
    answers = [None] * len(requests)

    def ask(place, feeds):
        try:
            answers[place] = [result.tolist() for result in scheduler.run(key, feeds, run)]
        except StatusError as error:
            answers[place] = error.code

    threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def recorder(sizes):
    def run(feeds):
        sizes.append(len(feeds["x"]))
        return [feeds["x"] * 10]

    return run


def test_what_waits_together_runs_together():
    sizes = []
    scheduler = BatchScheduler(BatchingConfig(max_batch_size=4, timeout_seconds=30, threads=1))
    answers = gather(scheduler, recorder(sizes), [column(1), column(2), column(3, 4)])
    assert answers == [[[10]], [[20]], [[30, 40]]]
    assert sizes == [4], "a full batch does not wait for its time"


def test_allowed_sizes_fill_up():
    sizes = []
    config = BatchingConfig(max_batch_size=8, allowed_batch_sizes=(2, 8), threads=1)
    scheduler = BatchScheduler(config)
    assert gather(scheduler, recorder(sizes), [column(1, 2, 3)]) == [[[10, 20, 30]]]
    assert gather(scheduler, recorder(sizes), [column(7)]) == [[[70]]]
    assert sizes == [8, 2]


def test_large_requests_are_split_where_asked():
    sizes = []
    scheduler = BatchScheduler(BatchingConfig(max_batch_size=8, max_execution_batch_size=3, threads=1))
    assert gather(scheduler, recorder(sizes), [column(*range(7))]) == [[[10.0 * n for n in range(7)]]]
    assert sorted(sizes) == [1, 3, 3]


def test_a_full_queue_refuses():
    started, go_on = threading.Event(), threading.Event()

    def run(feeds):
        started.set()
        assert go_on.wait(PATIENCE)
        return [feeds["x"]]

    scheduler = BatchScheduler(BatchingConfig(max_batch_size=1, max_enqueued_batches=2, threads=1))
    threads = [threading.Thread(target=lambda: scheduler.run("k", column(1), run)) for _ in range(3)]
    threads[0].start()
    assert started.wait(PATIENCE)
    for thread in threads[1:]:
        thread.start()
    until(lambda: len(scheduler._queues.get("k", (None, ()))[1]) == 2)
    with pytest.raises(
        StatusError, match="The batch scheduling queue to which this task was submitted is full; "
    ) as full:
        scheduler.run("k", column(1), run)
    assert full.value.code is Code.UNAVAILABLE
    # Another queue is not full.
    other = threading.Thread(target=lambda: scheduler.run("other", column(1), run))
    other.start()
    go_on.set()
    for thread in [*threads, other]:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("pads", [False, True])
def test_rows_of_different_lengths(pads):
    config = BatchingConfig(max_batch_size=2, timeout_seconds=30, threads=1, pad_variable_length_inputs=pads)
    requests = [{"x": np.array([[1, 2]])}, {"x": np.array([[3]])}]
    answers = gather(BatchScheduler(config), lambda feeds: [feeds["x"].sum(axis=1)], requests)
    # The filler is the tensor's own first value, so a sum shows it.
    assert answers == ([[[3]], [[6]]] if pads else [Code.FAILED_PRECONDITION] * 2)


@pytest.mark.parametrize("result", [np.float32(1), np.ones(3, np.float32)])
def test_outputs_without_the_batch_dimension(result):
    scheduler = BatchScheduler(BatchingConfig(threads=1))
    assert gather(scheduler, lambda feeds: [result], [column(1, 2)]) == [Code.FAILED_PRECONDITION]


def test_the_last_allowed_size_must_be_the_largest(adder_path, tmp_path, capfd):
    copy_version(adder_path / "2", tmp_path, "2")
    scheduler = BatchScheduler(BatchingConfig(max_batch_size=4, allowed_batch_sizes=(2, 8), threads=1))
    server = RunningServer(tmp_path, load_options=LoadOptions(scheduler=scheduler))
    assert server.ready.wait(PATIENCE)
    assert server.exit_code == 255
    assert "last entry was 8; expected 4" in capfd.readouterr().err
    with pytest.raises(StatusError, match="monotonically increasing"):
        BatchingConfig(max_batch_size=4, allowed_batch_sizes=(4, 2, 4)).check()


def test_the_parameters_file(tmp_path):
    file = tmp_path / "batching.config"
    file.write_text(
        "max_batch_size { value: 4 }  # rows\nbatch_timeout_micros { value: 2500 }\n"
        "max_enqueued_batches { value: 7 }\nnum_batch_threads { value: 3 }\n"
        "allowed_batch_sizes: 2\nallowed_batch_sizes: 4\npad_variable_length_inputs: true\n"
        'thread_pool_name { value: "b" }\n'
    )
    assert read_batching_config(file) == BatchingConfig(4, 0.0025, 7, 3, (2, 4), True)
    assert read_batching_config(None).max_batch_size == 1000
    file.write_text("max_batch_size { value: 0 }")
    with pytest.raises(StatusError, match="max_batch_size must be positive; was 0"):
        read_batching_config(file)
    file.write_text("no_such_field: 1")
    with pytest.raises(StatusError, match="Invalid protobuf file"):
        read_batching_config(file)
