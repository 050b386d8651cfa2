"""What a loaded bundle must show: asked over gRPC, by a local server in a thread of this process."""

import contextlib
import shutil

import numpy as np
import pytest

from crossrec.components.serving_check.check import ask
from crossrec.components.serving_check.config import ServingCheckConfig
from crossrec.serving.contract.prediction_logs import read_prediction_logs, write_prediction_logs
from crossrec.serving.launch.plans import Plan
from crossrec.serving.launch.process import ServerProcess
from crossrec.serving.launch.trial_server import TrialServer
from crossrec.serving.releases.bundle import write_version
from crossrec.serving.releases.replica import Replica
from tests.unit.components.serving_check.small_bundle import FACTOR, X, replace_op, write_golden
from tests.unit.serving.serve_here import serve_here

FEW = {"requests": 8, "warm_up_requests": 2}


@contextlib.contextmanager
def trial(base_path, command=("sleep", "600"), timeout=30.0):
    """A server of version 1 that is loaded, with `command` as its process."""
    plan = Plan("local", "the server", command)
    with (
        serve_here(base_path, "m") as server,
        ServerProcess(plan) as process,
        Replica(server.caller().target, timeout) as replica,
    ):
        yield TrialServer(plan, replica, 1.0, process)


@pytest.fixture
def version(small_bundle, tmp_path):
    path = shutil.copytree(small_bundle, tmp_path / "m" / "1")
    write_version(path, 1)
    return path


def check(version, **changes):
    config = ServingCheckConfig(**{**FEW, **changes})
    with trial(version.parent, timeout=config.call_timeout_seconds) as server:
        return ask(server, "m", version, config)


def test_right_answers_are_blessed_and_measured(version):
    report = check(version)
    assert report.blessed and report.failures == ()
    (answer,) = report.golden
    assert (answer.number, answer.signature, answer.deviation, answer.problems) == (1, "serving_default", 0.0, ())
    assert (report.latency.requests, report.latency.errors) == (8, 0)
    assert 0 < report.latency.p50_ms <= report.latency.p99_ms
    assert (report.server, report.version) == ("the server", 1)


def test_a_wrong_answer_is_refused_with_its_place_and_deviation(version):
    scores = X * FACTOR
    scores[0] += 0.5
    write_golden(version, scores)
    report = check(version)
    assert not report.blessed
    assert report.failures == ("golden request 1 (serving_default): scores[0] is 4.5 instead of 5 (1 of 2 differ)",)
    assert report.worst_deviation == pytest.approx(0.5 / (1 + 5.0))
    assert report.latency is None, "a wrong model is not measured"


def test_a_deviation_within_the_tolerance_is_blessed_and_told(version):
    # In float32, 4.5 (1 + 2^-16) and 4.5 differ exactly by 4.5 / 65536.
    write_golden(version, X * FACTOR * np.array([1 + 2**-16, 1], np.float32))
    report = check(version)
    assert report.blessed
    assert report.worst_deviation == pytest.approx(4.5 / 65536 / (1 + 4.5 * (1 + 2**-16)))
    assert not check(version, tolerance=1e-6).blessed


def test_a_bundle_that_does_not_know_its_version_is_refused(version):
    write_version(version, 0)
    (failure,) = check(version).failures
    assert "model_version[0] is 0 instead of 1 (2 of 2 differ)" in failure


def test_available_and_yet_not_served(version):
    """TensorFlow knows the operation and so loads the graph, but has no kernel of it."""
    replace_op(version, "RiscMul")
    report = check(version)
    (failure,) = report.failures
    assert failure.startswith("golden request 1 (serving_default): ")
    assert "No OpKernel was registered to support Op 'RiscMul'" in failure
    assert "\n" not in failure
    assert report.worst_deviation is None and report.latency is None


def test_each_latency_limit_is_judged_by_its_own_figure(version):
    # Two thousand turns of a loop take far more than a tenth of a millisecond each time.
    write_golden(version, loops=2000)
    report = check(version, p50_ms=0.01, p99_ms=0.1)
    first, second = report.failures
    p50, p99 = report.latency.p50_ms, report.latency.p99_ms
    assert first == f"p50 is {p50:.1f} ms over 8 requests; the limit serving.check.p50_ms is 0.01"
    assert second == f"p99 is {p99:.1f} ms over 8 requests; the limit serving.check.p99_ms is 0.1"
    assert check(version, p50_ms=60_000, p99_ms=60_000).blessed


def test_an_answer_that_hangs_is_refused_and_no_other_is_asked(version):
    write_golden(version, loops=150_000)
    file = version / "assets.extra" / "golden_requests"
    write_prediction_logs(file, reversed(read_prediction_logs(file)))
    report = check(version, call_timeout_seconds=0.3)
    assert [answer.signature for answer in report.golden] == ["loop"]
    assert "golden request 1 (loop): DEADLINE_EXCEEDED" in report.failures[0]


@pytest.mark.parametrize(("requests", "concurrency"), [(10, 4), (2, 5)])
def test_concurrent_requests_are_as_many_as_wanted(version, requests, concurrency):
    report = check(version, requests=requests, concurrency=concurrency)
    assert report.blessed
    assert (report.latency.requests, report.latency.errors) == (requests, 0)


def test_nothing_is_measured_where_nobody_wants_it(version):
    report = check(version, requests=0, p99_ms=0.001)
    assert report.blessed and report.latency is None


def test_a_server_that_ends_while_it_is_asked_is_a_failure(version):
    with serve_here(version.parent, "m") as server:
        target = server.caller().target
    command = ("sh", "-c", "kill -SEGV $$")
    with ServerProcess(Plan("binary", "b", command)) as process, Replica(target, 30.0) as replica:
        report = ask(
            TrialServer(Plan("binary", "b", command), replica, 1.0, process), "m", version, ServingCheckConfig()
        )
    (failure,) = report.failures
    assert failure.startswith("the server was ended by SIGSEGV while it was asked")
