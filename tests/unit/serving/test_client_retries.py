"""Deadline budget and retries of both clients, against a server that fails on demand."""

import dataclasses
import random
import socket
import threading
import time

import pytest

from crossrec.serving.client import (
    AccessError,
    CallError,
    DeadlineExceededError,
    NotFoundError,
    OverloadedError,
    RequestRefusedError,
    RetryConfig,
    UnavailableError,
)
from crossrec.serving.client.config import NEVER_RETRIED
from crossrec.serving.client.policy import MIN_ATTEMPT_SECONDS, RetryBudget, backoff_limit, retry_delay
from tests.unit.serving.faulty_server import CODE, ITEMS, QUICK, FaultyServer, fail, hang, late

ERRORS = [code for code in CODE if code is not CODE.OK]


@pytest.fixture
def server():
    server = FaultyServer()
    yield server
    server.stop()


def test_unavailable_is_retried(server, connect):
    server.script.extend([fail(CODE.UNAVAILABLE), fail(CODE.UNAVAILABLE)])
    answer = connect(server.target).recommend({"user_id": "u"})
    assert (answer.ids, answer.attempts, answer.fallback) == (ITEMS, 3, False)
    assert len(server.predicts) == 3
    assert len({one.payload for one in server.predicts}) == 1


@pytest.mark.parametrize("code", ERRORS, ids=lambda code: code.name)
def test_only_unavailable_is_retried_unless_told_otherwise(server, connect, code):
    server.script.append(fail(code, "no"))
    client = connect(server.target)
    if code is CODE.UNAVAILABLE:
        assert client.recommend({}).attempts == 2
        return
    with pytest.raises(CallError) as caught:
        client.recommend({})
    assert (caught.value.code, caught.value.attempts, caught.value.details) == (code, 1, "no")
    assert len(server.predicts) == 1
    expected = {
        CODE.DEADLINE_EXCEEDED: DeadlineExceededError,
        CODE.NOT_FOUND: NotFoundError,
        CODE.INVALID_ARGUMENT: RequestRefusedError,
        CODE.FAILED_PRECONDITION: RequestRefusedError,
        CODE.RESOURCE_EXHAUSTED: OverloadedError,
        CODE.PERMISSION_DENIED: AccessError,
        CODE.UNAUTHENTICATED: AccessError,
    }
    assert type(caught.value) is expected.get(code, CallError)


@pytest.mark.parametrize("code", sorted(set(ERRORS) - NEVER_RETRIED, key=str), ids=lambda code: code.name)
def test_a_listed_code_is_retried_and_no_other(server, connect, code):
    client = connect(server.target, retry=dataclasses.replace(QUICK, codes=frozenset({code})))
    server.script.append(fail(code))
    assert client.recommend({}).attempts == 2
    other = CODE.ABORTED if code is CODE.UNAVAILABLE else CODE.UNAVAILABLE
    server.script.append(fail(other))
    with pytest.raises(CallError) as caught:
        client.recommend({})
    assert caught.value.code is other


@pytest.mark.parametrize("code", sorted(NEVER_RETRIED, key=str), ids=lambda code: code.name)
def test_codes_that_are_never_retried_cannot_be_listed(code):
    with pytest.raises(ValueError, match=code.name):
        RetryConfig(codes=frozenset({code}))


def test_attempts_end_at_the_maximum(server, connect):
    server.always = fail(CODE.UNAVAILABLE)
    with pytest.raises(UnavailableError, match=r"\(attempt 4\)") as caught:
        connect(server.target, retry=dataclasses.replace(QUICK, max_attempts=4)).recommend({})
    assert caught.value.attempts == len(server.predicts) == 4


def test_one_attempt_means_no_retry(server, connect):
    server.script.append(fail(CODE.UNAVAILABLE))
    with pytest.raises(UnavailableError):
        connect(server.target, retry=RetryConfig(max_attempts=1)).recommend({})
    assert len(server.predicts) == 1


def test_nothing_is_sent_after_the_budget(server, connect):
    client = connect(
        server.target, deadline_seconds=2.0, retry=dataclasses.replace(QUICK, max_attempts=1000, budget_ratio=1.0)
    )
    client.metadata(deadline_seconds=30)
    server.always = late(0.25, fail(CODE.UNAVAILABLE))
    with pytest.raises((UnavailableError, DeadlineExceededError)) as caught:
        client.recommend({})
    assert 2 <= caught.value.attempts < 1000
    time.sleep(0.4)
    # What was sent last may not have arrived; a time on the way is rounded up to hundredths of a second.
    assert caught.value.attempts - 1 <= len(server.predicts) <= caught.value.attempts
    for number, one in enumerate(sorted(server.predicts, key=lambda one: one.time)):
        assert one.seconds_left <= 2.0 - 0.25 * number + 0.02, "each has what is left"


def test_learning_the_inputs_is_part_of_the_budget(connect):
    # A server that accepts and never answers.
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        begin = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            connect(f"127.0.0.1:{mute.getsockname()[1]}", deadline_seconds=0.3).recommend({})
        assert 0.25 < time.monotonic() - begin < 20.0


def test_a_server_that_drops_connections_is_unavailable_and_tried_again(connect):
    accepted = []
    with socket.socket() as rude:
        rude.bind(("127.0.0.1", 0))
        rude.listen()

        def drop():
            while True:
                try:
                    connection, _ = rude.accept()
                except OSError:
                    return
                accepted.append(connection)
                connection.close()

        threading.Thread(target=drop, daemon=True).start()
        with pytest.raises(UnavailableError) as caught:
            connect(f"127.0.0.1:{rude.getsockname()[1]}").recommend({})
        assert caught.value.attempts == 3
        assert accepted
        rude.shutdown(socket.SHUT_RDWR)


def test_an_attempt_that_hangs_leaves_time_for_another(server, connect):
    client = connect(server.target, retry=dataclasses.replace(QUICK, attempt_seconds=1.5))
    client.metadata()
    server.script.append(hang)
    answer = client.recommend({})
    assert answer.attempts == 2
    assert answer.latency_ms >= 1_500
    assert server.predicts[0].ended.wait(15), "the first attempt is over for the server too"


def test_retries_cannot_multiply_the_load_of_an_outage(server, connect):
    client = connect(server.target, retry=dataclasses.replace(QUICK, max_attempts=5, budget_ratio=0.2))
    client.metadata()
    server.always = fail(CODE.UNAVAILABLE)
    for _ in range(60):
        with pytest.raises(UnavailableError):
            client.recommend({})
    assert 60 + 10 <= len(server.predicts) <= 60 + 10 + 0.2 * 61 + 1


def test_a_refusal_is_answered_by_a_new_look_at_the_inputs(server, connect):
    client = connect(server.target)
    client.recommend({"user_id": "u"})
    server.inputs = {**server.inputs, "age": ("float32", 1)}
    server.script.append(fail(CODE.INVALID_ARGUMENT, "input size does not match signature"))
    answer = client.recommend({"user_id": "u"})
    assert answer.attempts == 1, "the refused one was no attempt of this request"
    assert set(server.predicts[-1].inputs()) == {"user_id", "recent_items", "age", "exclude_items"}
    assert client.recommend({"age": 3}).ids == ITEMS
    # Nothing new to learn: one look, and the refusal stands.
    looks = len(server.metadata_calls)
    server.script.append(fail(CODE.INVALID_ARGUMENT, "really"))
    with pytest.raises(RequestRefusedError, match="really"):
        client.recommend({})
    assert len(server.metadata_calls) == looks + 1
    assert len(server.predicts) == 5


def test_a_version_that_comes_and_goes_costs_no_call(server, connect):
    client = connect(server.target)
    client.recommend({})
    # Refused by a version that is gone again when the client looks: the look shows the inputs that were sent.
    refusal = fail(CODE.INVALID_ARGUMENT, "input size does not match signature: 3!=4 len({...})")
    server.script.extend([refusal, refusal])
    assert client.recommend({}).ids == ITEMS
    assert len(server.predicts) == 4
    server.always = refusal
    with pytest.raises(RequestRefusedError):
        client.recommend({})
    assert len(server.predicts) == 4 + 1 + 3, "not for ever"


def test_an_answer_of_another_version_makes_the_client_look_again(server, connect):
    client = connect(server.target)
    client.recommend({})
    client.recommend({})
    assert len(server.metadata_calls) == 1
    server.version = 2
    server.inputs = {**server.inputs, "age": ("float32", 1)}
    assert client.recommend({}).model_version == 2
    client.recommend({"age": 3})
    client.recommend({})
    assert len(server.metadata_calls) == 2
    server.version = 1  # rolled back: known already
    assert client.recommend({}).model_version == 1
    client.recommend({"user_id": "u"})
    assert len(server.metadata_calls) == 2
    assert "age" not in server.predicts[-1].inputs()


def test_the_version_may_be_chosen_for_one_call(server, connect):
    client = connect(server.target, version_label="stable")
    client.recommend({})
    client.recommend({}, version_label="canary")
    client.recommend({}, version=7)
    client.rank({"candidate_items": ["a"]}, version=8)
    specs = [one.request().model_spec for one in server.predicts]
    assert [spec.version_label for spec in specs] == ["stable", "canary", "", ""]
    assert [spec.version.value for spec in specs] == [0, 0, 7, 8]
    assert {spec.name for spec in specs} == {"m"}
    with pytest.raises(ValueError, match="give one of them"):
        client.recommend({}, version=1, version_label="x")


@pytest.mark.parametrize("failures", range(1, 80))
def test_a_pause_lies_between_zero_and_its_bound(failures):
    config = RetryConfig(max_attempts=1000)
    bound = min(0.25, 0.01 * 2.0 ** (failures - 1))
    assert backoff_limit(config, failures) == pytest.approx(bound)
    chances = [0.0, 0.5, 0.999, *(random.Random(failures).random() for _ in range(50))]
    for chance in chances:
        delay = retry_delay(config, failures, CODE.UNAVAILABLE, 10.0, chance)
        assert delay == pytest.approx(chance * bound)
        for remaining in (0.0, delay, delay + MIN_ATTEMPT_SECONDS / 2):
            assert retry_delay(config, failures, CODE.UNAVAILABLE, remaining, chance) is None, "no time to be answered"


def test_the_retry_budget_refills_with_calls():
    budget = RetryBudget(0.25)
    assert [budget.spend() for _ in range(11)] == [True] * 10 + [False]
    for _ in range(4):
        assert not budget.spend()
        budget.earn()
    assert budget.spend()
    assert not budget.spend()
    for _ in range(1000):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) == 10, "the reserve is bounded"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"initial_backoff_seconds": 0.0}, "initial_backoff_seconds"),
        ({"max_backoff_seconds": float("inf")}, "max_backoff_seconds"),
        ({"backoff_multiplier": 0.5}, "backoff_multiplier"),
        ({"attempt_seconds": -1.0}, "attempt_seconds"),
        ({"budget_ratio": 2.0}, "budget_ratio"),
    ],
)
def test_settings_out_of_range_are_refused(settings, name):
    with pytest.raises(ValueError, match=name):
        RetryConfig(**settings)
