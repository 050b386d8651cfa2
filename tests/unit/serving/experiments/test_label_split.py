"""Clients that split their traffic: which label is asked, what is recorded, how a batch comes back."""

import asyncio
import contextvars
import json
import os
import threading

import pytest

from crossrec.serving.client import (
    AsyncRecommenderClient,
    ClientConfig,
    DeadlineExceededError,
    Request,
    RequestError,
    RetryConfig,
    UnavailableError,
)
from crossrec.serving.experiments import Experiment, ExposureLog, LabelSplit, WatchedExperiment
from tests.unit.serving.faulty_server import CODE, ITEMS, TWINS, Connector, FaultyServer, fail, hang
from tests.unit.serving.serve_here import PATIENCE

HALVES = Experiment("e", {"stable": 50, "canary": 50}, overrides={"tester": "canary"})
ONCE = RetryConfig(max_attempts=1)


def units_of(arm, count=3, experiment=HALVES):
    return [unit for unit in (f"u{n}" for n in range(1000)) if experiment.assign(unit).arm == arm][:count]


STABLE, CANARY = units_of("stable"), units_of("canary")
MIXED = [unit for pair in zip(CANARY, STABLE) for unit in pair]


def asked(received):
    spec = received.request().model_spec
    assert not spec.HasField("version")
    return spec.version_label, [value.decode() for value in received.inputs()["user_id"]]


@pytest.fixture
def server():
    server = FaultyServer()
    yield server
    server.stop()


@pytest.fixture(params=TWINS)
def connect(request):
    with Connector(request.param) as connector:
        yield connector


@pytest.fixture
def seen():
    """Exposures, as soon as `exposures.flush` was called."""
    return []


@pytest.fixture
def exposures(seen):
    with ExposureLog(seen.extend, flush_seconds=3600) as log:
        yield log


@pytest.fixture
def client(connect, server, exposures):
    return connect(server.target, traffic=LabelSplit(HALVES, exposures))


def test_each_unit_gets_the_label_of_its_arm_and_is_recorded(client, server, exposures, seen):
    server.version = 7
    for unit in MIXED:
        assert client.recommend({"user_id": unit}).ids == ITEMS
    assert [asked(one) for one in server.predicts] == [(HALVES.assign(unit).arm, [unit]) for unit in MIXED]
    exposures.flush()
    assert [(one.experiment, one.arm, one.unit, one.allocation, one.model_version) for one in seen] == [
        ("e", HALVES.assign(unit).arm, unit, "stable=0.5,canary=0.5;e", 7) for unit in MIXED
    ]
    assert all((one.fallback, one.error, one.request_id) == (False, "", "") for one in seen)
    assert [one.time for one in seen] == sorted(one.time for one in seen)


@pytest.mark.parametrize("operation", ["recommend", "retrieve", "rank"])
def test_a_batch_is_split_by_arm_and_put_back_in_order(client, server, exposures, seen, operation):
    requests = [{"user_id": unit} for unit in MIXED]
    if operation == "rank":  # each request's own number of candidates shows whose answer is whose
        requests = [{**one, "candidate_items": [f"i{n}" for n in range(2 + n)]} for n, one in enumerate(requests)]
    answers = getattr(client, operation)(requests)
    if operation == "rank":
        assert [answer.ids for answer in answers] == [tuple(f"i{n}" for n in range(2 + n)) for n in range(len(MIXED))]
    assert len(answers) == len(MIXED)
    assert {label: units for label, units in map(asked, server.predicts)} == {"canary": CANARY, "stable": STABLE}
    exposures.flush()
    assert sorted(one.unit for one in seen) == sorted(MIXED)
    assert all(one.arm == HALVES.assign(one.unit).arm for one in seen)


def test_the_parts_of_a_batch_are_asked_at_the_same_time(client, server):
    together = threading.Barrier(2, timeout=PATIENCE)
    server.always = lambda received, context: together.wait()
    assert len(client.recommend([{"user_id": unit} for unit in MIXED])) == len(MIXED)


def test_the_parts_of_a_batch_see_the_callers_context(connect, server):
    trace = contextvars.ContextVar("trace", default="none")
    client = connect(server.target, traffic=LabelSplit(HALVES), headers=lambda: {"trace": trace.get()})
    trace.set("t1")
    client.recommend([{"user_id": unit} for unit in MIXED])
    assert [one.headers["trace"] for one in server.predicts] == ["t1", "t1"]


@pytest.mark.parametrize("choice", [{"version": 3}, {"version_label": "canary"}])
def test_a_call_that_chooses_itself_goes_past_the_experiment(client, server, exposures, seen, choice):
    client.recommend([{"user_id": unit} for unit in MIXED], **choice)
    (received,) = server.predicts
    spec = received.request().model_spec
    assert (spec.version.value, spec.version_label) == (choice.get("version", 0), choice.get("version_label", ""))
    exposures.flush()
    assert seen == []


@pytest.mark.parametrize("request_", [{}, {"user_id": ""}, {"user_id": None}, Request({}, unit="")])
def test_nobody_in_particular_gets_the_control_and_is_not_recorded(client, server, exposures, seen, request_):
    client.recommend(request_)
    assert asked(server.predicts[0])[0] == "stable"
    exposures.flush()
    assert seen == []


def test_testers_get_their_arm_and_are_not_recorded(client, server, exposures, seen):
    client.recommend({"user_id": "tester"})
    assert asked(server.predicts[0])[0] == "canary"
    exposures.flush()
    assert seen == []


def test_a_request_may_name_its_unit_and_its_id(client, server, exposures, seen):
    client.recommend([Request({"user_id": STABLE[0]}, unit=CANARY[0], request_id="r1"), {"user_id": b"u1"}])
    assert ("canary", [STABLE[0]]) in [asked(one) for one in server.predicts]
    exposures.flush()
    assert {(one.unit, one.request_id) for one in seen} == {(CANARY[0], "r1"), ("u1", "")}


def test_a_failed_canary_is_recorded_with_its_arm(connect, server, exposures, seen):
    client = connect(server.target, traffic=LabelSplit(HALVES, exposures), retry=ONCE)
    server.always = fail(CODE.UNAVAILABLE)
    with pytest.raises(UnavailableError):
        client.recommend({"user_id": CANARY[0]})
    exposures.flush()
    assert [(one.arm, one.unit, one.model_version, one.fallback, one.error) for one in seen] == [
        ("canary", CANARY[0], 0, False, "UNAVAILABLE")
    ]


def test_a_fallback_is_recorded_with_the_arm_that_failed(connect, server, exposures, seen):
    def fallback(failed):
        return ["x"]

    client = connect(server.target, fallback, traffic=LabelSplit(HALVES, exposures), retry=ONCE)

    def only_stable(received, context):
        if received.request().model_spec.version_label == "canary":
            context.abort(CODE.UNAVAILABLE, "no canary")

    server.always = only_stable
    answers = client.recommend([{"user_id": CANARY[0]}, {"user_id": STABLE[0]}])
    assert [(answer.ids, answer.fallback) for answer in answers] == [(("x",), True), (ITEMS, False)]
    exposures.flush()
    assert {(one.arm, one.unit, one.model_version, one.fallback) for one in seen} == {
        ("canary", CANARY[0], 0, True),
        ("stable", STABLE[0], 1, False),
    }


def test_one_part_that_fails_fails_the_call_and_both_are_recorded(connect, server, exposures, seen):
    client = connect(server.target, traffic=LabelSplit(HALVES, exposures), retry=ONCE)

    def no_canary(received, context):
        if received.request().model_spec.version_label == "canary":
            context.abort(CODE.UNAVAILABLE, "no canary")

    server.always = no_canary
    with pytest.raises(UnavailableError, match="no canary"):
        client.recommend([{"user_id": STABLE[0]}, {"user_id": CANARY[0]}])
    exposures.flush()
    assert {(one.arm, one.model_version, one.error) for one in seen} == {
        ("canary", 0, "UNAVAILABLE"),
        ("stable", 1, ""),
    }
    assert [target.in_flight for target in client.target_status()] == [0]


def test_all_parts_share_the_deadline(connect, server, exposures, seen):
    client = connect(server.target, traffic=LabelSplit(HALVES, exposures))
    client.metadata()
    server.always = hang
    with pytest.raises(DeadlineExceededError):
        client.recommend([{"user_id": unit} for unit in MIXED], deadline_seconds=1.5)
    assert {one.seconds_left < 1.6 for one in server.predicts} == {True}
    exposures.flush()
    assert {one.error for one in seen} == {"DEADLINE_EXCEEDED"} and len(seen) == len(MIXED)


def test_a_request_that_cannot_be_asked_of_anybody_is_no_exposure(client, exposures, seen):
    with pytest.raises(RequestError):
        client.rank({"user_id": CANARY[0]})
    with pytest.raises(RequestError):
        client.recommend({"user_id": CANARY[0]}, limit=0)
    exposures.flush()
    assert seen == []


def test_a_cancelled_request_is_recorded(server, exposures, seen):
    server.always = hang

    async def main():
        config = ClientConfig(deadline_seconds=60.0, traffic=LabelSplit(HALVES, exposures))
        async with AsyncRecommenderClient(server.target, "m", config) as client:
            await client.metadata()
            task = asyncio.ensure_future(client.recommend([{"user_id": unit} for unit in MIXED]))
            while len(server.predicts) < 2:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [target.in_flight for target in client.target_status()] == [0]

    asyncio.run(main())
    exposures.flush()
    assert {one.error for one in seen} == {"CANCELLED"} and len(seen) == len(MIXED)


def test_a_split_without_records_only_routes(connect, server):
    client = connect(server.target, traffic=LabelSplit(HALVES))
    client.recommend({"user_id": CANARY[0]})
    assert asked(server.predicts[0])[0] == "canary"


def test_a_record_that_cannot_be_kept_touches_no_request(connect, server, caplog):
    class Broken(ExposureLog):
        def record(self, exposure):
            raise RuntimeError("broken")

    with Broken(lambda batch: None) as log:
        assert connect(server.target, traffic=LabelSplit(HALVES, log)).recommend({"user_id": CANARY[0]}).ids == ITEMS
    assert "broken" in caplog.text


def test_a_changed_definition_changes_the_split(connect, server, tmp_path):
    path = tmp_path / "experiment.json"
    path.write_text(json.dumps({"name": "e", "arms": {"stable": 1, "canary": 0}}))
    client = connect(server.target, traffic=LabelSplit(WatchedExperiment(path, check_seconds=0.0)))
    client.recommend({"user_id": CANARY[0]})
    # The new file is another one: it may be of the same size and of the same tick of the system's clock.
    (tmp_path / "new.json").write_text(json.dumps({"name": "e", "arms": {"stable": 1, "canary": 1}}))
    os.replace(tmp_path / "new.json", path)
    client.recommend({"user_id": CANARY[0]})
    assert [asked(one)[0] for one in server.predicts] == ["stable", "canary"]


def test_a_client_has_a_split_or_a_choice_of_its_own():
    with pytest.raises(ValueError, match="version_label='stable': give one of them"):
        ClientConfig(version_label="stable", traffic=LabelSplit(HALVES))
