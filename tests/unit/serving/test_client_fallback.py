"""Answers from the fallback: when it is asked, and what it may give."""

import asyncio

import pytest

from crossrec.serving.client import ContractError, DeadlineExceededError, Request, RequestError, UnavailableError
from tests.unit.serving.faulty_server import CODE, ITEMS, Connector, FaultyServer, fail, hang


@pytest.fixture
def server():
    server = FaultyServer()
    yield server
    server.stop()


def popular(failed):
    return ["p1", "p2", "p3"]


def test_the_budget_is_gone(server, connect):
    client = connect(server.target, fallback=popular)
    client.metadata()
    server.always = hang
    answer = client.recommend({}, deadline_seconds=0.3)
    assert (answer.ids, answer.fallback, answer.model_version) == (("p1", "p2", "p3"), True, 0)
    assert answer.scores.tolist() == [0.0, -1.0, -2.0]
    assert answer.latency_ms >= 300
    assert [item.id for item in answer] == ["p1", "p2", "p3"]


def test_a_good_answer_is_none_of_its_business(server, connect):
    answer = connect(server.target, fallback=popular).recommend({})
    assert (answer.ids, answer.fallback) == (ITEMS, False)


def test_no_server_is_there(server, connect):
    server.stop()
    seen = []

    def given(failed):
        seen.append(failed)
        return [("x", 0.75), "y"]

    answer = connect(server.target, fallback=given).retrieve({"user_id": "u"}, limit=1)
    assert (answer.ids, answer.scores.tolist(), answer.attempts) == (("x",), [0.75], 3)
    (failed,) = seen
    assert (failed.operation, failed.inputs, failed.limit) == ("retrieve", {"user_id": "u"}, 1)
    assert isinstance(failed.error, UnavailableError)


def test_it_is_asked_once_per_request_of_a_batch(server, connect):
    client = connect(server.target, fallback=lambda failed: [failed.inputs["user_id"]])
    server.stop()
    answers = client.recommend([Request({"user_id": "a"}), {"user_id": "b"}])
    assert [(one.ids, one.fallback) for one in answers] == [(("a",), True), (("b",), True)]


def test_rank_takes_one_score_per_candidate(server, connect):
    client = connect(server.target, fallback=lambda failed: [len(item) for item in failed.inputs["candidate_items"]])
    server.stop()
    answer = client.rank({"candidate_items": ["ccc", "a"]})
    assert (answer.ids, answer.scores.tolist(), answer.fallback) == (("ccc", "a"), [3.0, 1.0], True)
    wrong = connect(server.target, fallback=lambda failed: [1.0])
    with pytest.raises(RequestError, match="gave 1 scores for 2 candidates"):
        wrong.rank({"candidate_items": ["ccc", "a"]})


def test_none_lets_the_error_through(server, connect):
    client = connect(server.target, fallback=lambda failed: None)
    server.stop()
    with pytest.raises(UnavailableError):
        client.recommend({})


@pytest.mark.parametrize("code", [CODE.INVALID_ARGUMENT, CODE.NOT_FOUND, CODE.PERMISSION_DENIED])
def test_the_callers_own_mistakes_are_not_covered_up(server, connect, code):
    client = connect(server.target, fallback=popular)
    server.always = fail(code)
    with pytest.raises(Exception, match=code.name):
        client.recommend({})
    with pytest.raises(RequestError, match="colour"):
        client.recommend({"colour": "red"})


@pytest.mark.parametrize("code", [CODE.INTERNAL, CODE.UNKNOWN, CODE.RESOURCE_EXHAUSTED, CODE.UNAVAILABLE])
def test_a_broken_server_is(server, connect, code):
    client = connect(server.target, fallback=popular)
    server.always = fail(code)
    assert client.recommend({}).fallback


def test_an_error_of_the_fallback_reaches_the_caller(server, connect):
    def broken(failed):
        raise ContractError("the cache is empty", "Fill it")

    client = connect(server.target, fallback=broken)
    server.stop()
    with pytest.raises(ContractError, match="the cache is empty") as caught:
        client.recommend({})
    assert isinstance(caught.value.__context__, UnavailableError)


def test_status_and_metadata_have_none(server, connect):
    client = connect(server.target, fallback=popular)
    server.stop()
    for ask in (client.status, client.metadata):
        with pytest.raises((UnavailableError, DeadlineExceededError)):
            ask()


def test_a_coroutine_function_is_awaited(server):
    async def slowly(failed):
        await asyncio.sleep(0.01)
        return ["later"]

    server.stop()
    with Connector("async") as connect:
        assert connect(server.target, fallback=slowly).recommend({}).ids == ("later",)
