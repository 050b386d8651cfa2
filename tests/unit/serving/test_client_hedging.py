"""Hedged requests of both clients: when a second copy is sent, who wins, and what becomes of the other."""

import threading
import time

import pytest

from crossrec.serving.client import HedgeConfig, RequestRefusedError, UnavailableError
from crossrec.serving.contract import messages
from tests.unit.serving.faulty_server import CODE, ITEMS, fail, hang, late
from tests.unit.serving.serve_here import PATIENCE, until

SOON = HedgeConfig(0.05)


@pytest.fixture
def warm(connect, servers):
    """A client that knows what both servers take, so that hedging is all that goes on."""

    def warm(**settings):
        client = connect([server.target for server in servers], **settings)
        for server in servers:
            client.metadata(target=server.target)
        return client

    return warm


def first(servers, action, otherwise=None):
    """Whichever server is asked first acts so; the other one otherwise."""
    asked, lock = [], threading.Lock()

    def act(received, context):
        with lock:
            asked.append(received)
            chosen = action if len(asked) == 1 else otherwise
        if chosen is not None:
            chosen(received, context)

    for server in servers:
        server.always = act
    return asked


def with_the_copy(servers, then=None, ended=False):
    """An action of the first: wait until the second copy is there, or has `ended`, and a moment longer."""

    def act(received, context):
        def others():
            return [one for server in servers for one in server.predicts if one is not received]

        until(lambda: any(one.ended.is_set() or not ended for one in others()))
        late(0.1, then)(received, context)

    return act


def idle(client):
    return all(one.in_flight == 0 for one in client.target_status())


def test_hedging_is_off_by_default(warm, servers):
    asked = first(servers, late(0.4))
    assert warm().recommend({}).ids == ITEMS
    assert len(asked) == 1


def test_the_second_copy_wins_and_the_first_is_cancelled(warm, servers):
    client = warm(hedge=SOON)
    asked = first(servers, hang)
    begin = time.monotonic()
    answer = client.recommend({})
    assert time.monotonic() - begin < 15, "not for as long as the first one hangs"
    assert (answer.ids, answer.attempts) == (ITEMS, 1)
    assert [len(server.predicts) for server in servers] == [1, 1], "the copy goes to the other target"
    assert asked[1].time - begin >= 0.05
    assert asked[0].payload == asked[1].payload
    assert asked[0].ended.wait(10), "the loser hears that nobody waits"
    assert not asked[0].done
    until(lambda: idle(client))


def test_a_quick_answer_is_not_hedged(warm, servers):
    client = warm(hedge=HedgeConfig(25.0))
    for _ in range(10):
        client.recommend({})
    assert sum(len(server.predicts) for server in servers) == 10
    assert idle(client)


def test_the_first_copy_may_still_win(warm, servers):
    client = warm(hedge=SOON)
    asked = first(servers, with_the_copy(servers), hang)
    assert client.recommend({}).ids == ITEMS
    assert len(asked) == 2
    assert asked[1].ended.wait(10) and not asked[1].done
    until(lambda: idle(client))


@pytest.mark.parametrize("code", [CODE.UNAVAILABLE, CODE.INVALID_ARGUMENT, CODE.INTERNAL])
def test_a_second_copy_that_fails_costs_nothing(warm, servers, code):
    client = warm(hedge=SOON)
    asked = first(servers, with_the_copy(servers, ended=True), fail(code))
    answer = client.recommend({})
    assert (answer.ids, answer.attempts) == (ITEMS, 1)
    assert len(asked) == 2
    assert idle(client)


def test_a_first_copy_that_fails_leaves_the_second_to_answer(warm, servers):
    client = warm(hedge=SOON)
    failed = threading.Event()

    def fail_with_the_copy(received, context):
        context.add_callback(failed.set)
        with_the_copy(servers, fail(CODE.UNAVAILABLE))(received, context)

    def answer_afterwards(received, context):
        assert failed.wait(PATIENCE)
        time.sleep(0.1)

    asked = first(servers, fail_with_the_copy, answer_afterwards)
    answer = client.recommend({})
    assert (answer.ids, answer.attempts) == (ITEMS, 1)
    assert len(asked) == 2
    assert idle(client)


def test_a_refusal_ends_the_call_and_cancels_the_second_copy(warm, servers):
    client = warm(hedge=SOON)
    asked = first(servers, with_the_copy(servers, fail(CODE.INVALID_ARGUMENT, "no")), hang)
    with pytest.raises(RequestRefusedError, match="no"):
        client.recommend({})
    assert len(asked) == 2
    assert asked[1].ended.wait(10)
    until(lambda: idle(client))


def test_both_copies_failing_is_one_failed_attempt(warm, servers):
    client = warm(hedge=SOON)
    pair = threading.Barrier(2, timeout=PATIENCE)

    def fail_together(received, context):
        pair.wait()
        fail(CODE.UNAVAILABLE)(received, context)

    for server in servers:
        server.always = fail_together
    with pytest.raises(UnavailableError) as caught:
        client.recommend({})
    assert caught.value.attempts == 3
    assert sum(len(server.predicts) for server in servers) == 6
    assert idle(client)


def test_one_target_is_hedged_at_the_same_address(connect, servers):
    server = servers[0]
    client = connect(server.target, hedge=SOON)
    client.metadata()
    server.script.append(hang)
    assert client.recommend({}).ids == ITEMS
    assert len(server.predicts) == 2
    assert server.predicts[0].ended.wait(10)
    until(lambda: idle(client))


def test_hedges_come_out_of_the_retry_budget(warm, servers):
    client = warm(hedge=HedgeConfig(0.001))
    pair = threading.Barrier(2, timeout=PATIENCE)
    for server in servers:
        server.always = lambda received, context: pair.wait()
    # The budget begins with ten: so many calls are sure to get the copy without which nobody is answered.
    for _ in range(10):
        client.recommend({})
    assert [len(server.predicts) for server in servers] == [10, 10]
    for server in servers:
        server.always = late(0.02)
    for _ in range(30):
        client.recommend({})
    assert sum(len(server.predicts) for server in servers) <= 40 + 10 + 0.2 * 43 + 1


def test_a_call_that_is_too_late_is_over_for_both(warm, servers):
    client = warm(hedge=SOON)
    for server in servers:
        server.always = hang
    with pytest.raises(Exception, match="DEADLINE_EXCEEDED"):
        client.recommend({}, deadline_seconds=1.5)
    assert all(server.predicts[0].ended.wait(10) for server in servers)
    until(lambda: idle(client))


def test_the_copy_is_a_whole_request(warm, servers):
    client = warm(hedge=SOON)
    asked = first(servers, hang)
    client.recommend({"user_id": "ü"})
    request = messages.PredictRequest.FromString(asked[1].payload)
    assert request.model_spec.signature_name == "recommend"
    assert list(request.inputs["user_id"].string_val) == ["ü".encode()]


@pytest.mark.parametrize("delay", [0.0, -1.0, float("inf")])
def test_a_delay_that_is_none_is_refused(delay):
    with pytest.raises(ValueError, match="delay_seconds"):
        HedgeConfig(delay)
