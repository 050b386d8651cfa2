"""The client against a server: answers, versions that change their inputs, and errors."""

import dataclasses
import os
import shutil
import socket
import threading
import time

import pytest

from crossrec.serving.client import (
    ClientConfig,
    ClientStateError,
    ContractError,
    DeadlineExceededError,
    NotFoundError,
    Recommendations,
    RecommenderClient,
    Request,
    RequestError,
    RequestRefusedError,
    TlsConfig,
    UnavailableError,
)
from tests.unit.serving.faulty_server import TWINS
from tests.unit.serving.make_models import CATALOGUE, LIST_SIZE, copy_version, save_bundle
from tests.unit.serving.serve_here import model, model_config, serve_here, until

# Models are loaded in the test's own process meanwhile.
PATIENT = ClientConfig(deadline_seconds=30.0)


@pytest.fixture(params=TWINS)
def client(bundle_server, request):
    client = TWINS[request.param](bundle_server.target, config=PATIENT)
    yield client
    client.close()


def echo(answer):
    return dict(part.partition("=")[::2] for part in answer.items[0].attributes["echo"].split(";"))


def test_recommend(client):
    answer = client.recommend({"user_id": "u1"})
    assert answer.ids == tuple(CATALOGUE[:LIST_SIZE])
    assert answer.scores.tolist() == [0.0, -1.0, -2.0, -3.0, -4.0]
    assert [item.attributes["title"] for item in answer] == [f"Título {item}" for item in answer.ids]
    assert answer.model_version == 3
    assert 0 < answer.latency_ms < 30_000
    assert len(answer) == LIST_SIZE
    assert answer.items[1].id == "i1"
    assert answer.items[1].score == -1.0


def test_inputs_arrive_as_given_and_missing_ones_as_missing(client):
    full = {"user_id": "ü", "price_max": 2.5, "timestamp": 99, "interests": ["a", "b"], "recent_items": ["i1"]}
    assert echo(client.recommend(full)) == {
        "user_id": "ü", "price_max": "2.500000", "timestamp": "99", "interests": "a|b", "recent_items": "i1||",
    }  # fmt: skip
    assert echo(client.recommend({})) == {
        "user_id": "", "price_max": "nan", "timestamp": "0", "interests": "", "recent_items": "||",
    }  # fmt: skip


def test_exclusion_and_padding(client):
    answer = client.recommend(Request({}, exclude_items=CATALOGUE[:6]))
    assert answer.ids == ("i6", "i7")
    assert answer.scores.tolist() == [-6.0, -7.0]
    assert len(answer.items) == 2
    assert client.recommend(Request({}, exclude_items=CATALOGUE)).items == ()


def test_a_batch_equals_its_requests_one_by_one(client):
    requests = [
        Request({"user_id": "a", "interests": ["x", "y"]}, exclude_items=["i0"]),
        {"user_id": "b"},
        Request({"timestamp": 5}, exclude_items=CATALOGUE[2:]),
    ]
    batch = client.recommend(requests)
    assert isinstance(batch, list)
    for answer, request in zip(batch, requests):
        alone = client.recommend(request)
        assert isinstance(alone, Recommendations)
        assert alone.ids == answer.ids
        assert alone.scores.tolist() == answer.scores.tolist()
        assert alone.columns["title"] == answer.columns["title"]
    assert client.recommend([{}])[0].ids == client.recommend({}).ids


def test_limit(client):
    assert client.recommend({}, limit=2).ids == ("i0", "i1")
    assert client.recommend({}, limit=100).ids == tuple(CATALOGUE[:LIST_SIZE])
    with pytest.raises(RequestError, match="limit=0"):
        client.recommend({}, limit=0)


def test_retrieve(client):
    answer = client.retrieve(Request({"user_id": "u"}))
    assert answer.ids == tuple(CATALOGUE)
    assert answer.model_version == 3


def test_rank_keeps_the_order_of_the_candidates(client):
    short, long = client.rank([Request({}, candidate_items=["ccc"]), {"candidate_items": ["a", "bb", "", "d"][:2]}])
    assert (short.ids, short.scores.tolist()) == (("ccc",), [3.0])
    assert (long.ids, long.scores.tolist()) == (("a", "bb"), [1.0, 2.0])
    assert long.items[0].attributes["probability_click"] == pytest.approx(0.7310586)
    assert client.rank(Request({}, candidate_items=["zz"])).ids == ("zz",)


@pytest.mark.parametrize("candidates", [None, [], "abc", ["a", ""], ["a", None]])
def test_rank_needs_candidates(client, candidates):
    with pytest.raises(RequestError) as caught:
        client.rank({"candidate_items": candidates})
    assert caught.value.field == "candidate_items"


def test_rank_refuses_candidates_that_are_no_text(client):
    with pytest.raises(RequestError, match="holds 3, which is int"):
        client.rank({"candidate_items": [3]})


@pytest.mark.parametrize("requests", ["user", [], 3, [3], None])
def test_requests_that_are_none_are_refused(client, requests):
    with pytest.raises(RequestError):
        client.recommend(requests)


def test_unknown_feature_lists_the_known(client):
    with pytest.raises(RequestError, match="exclude_items, interests, price_max, recent_items, timestamp, user_id"):
        client.recommend({"colour": "red"})
    with pytest.raises(RequestError, match="candidate_items"):
        client.recommend(Request({}, candidate_items=["i1"]))


def test_status_and_metadata(client):
    status = client.status()
    assert [(one.version, one.state, one.error_code) for one in status] == [(3, "AVAILABLE", 0)]
    metadata = client.metadata()
    assert metadata.version == 3
    assert set(metadata.signatures) == {"serving_default", "recommend", "retrieve", "rank"}
    inputs = metadata.signatures["rank"].inputs
    assert (inputs["recent_items"].dtype, inputs["recent_items"].shape) == ("string", (None, 3))
    assert metadata.signatures["rank"].features == ("interests", "price_max", "recent_items", "timestamp", "user_id")


def test_threads_share_a_client(bundle_server):
    problems = []
    with RecommenderClient(bundle_server.target, config=PATIENT) as client:

        def ask(name):
            for _ in range(20):
                answer = client.recommend({"user_id": name})
                if echo(answer)["user_id"] != name:
                    problems.append(answer)

        threads = [threading.Thread(target=ask, args=(f"u{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert problems == []


def test_version_is_chosen(bundle_server):
    with RecommenderClient(bundle_server.target, config=dataclasses.replace(PATIENT, version=3)) as client:
        assert client.recommend({}).model_version == 3
        assert [one.version for one in client.status()] == [3]
    with (
        RecommenderClient(bundle_server.target, config=dataclasses.replace(PATIENT, version=4)) as client,
        pytest.raises(NotFoundError) as caught,
    ):
        client.recommend({})
    error = caught.value
    assert error.code.name == "NOT_FOUND"
    assert error.target == bundle_server.target
    assert error.details == "Servable not found for request: Specific(recommender, 4)"
    assert bundle_server.target in str(error) and error.mend in str(error)


def test_label_is_sent(bundle_server):
    with (
        RecommenderClient(bundle_server.target, config=dataclasses.replace(PATIENT, version_label="canary")) as client,
        pytest.raises(RequestRefusedError, match="Unrecognized servable version label: canary"),
    ):
        client.recommend({})


@pytest.mark.parametrize(
    "settings",
    [
        {"version": 1, "version_label": "stable"},
        {"version": -1},
        {"deadline_seconds": 0.0},
        {"deadline_seconds": float("nan")},
    ],
)
def test_a_contradicting_configuration_is_refused(settings):
    with pytest.raises(ValueError, match="give"):
        ClientConfig(**settings)


def test_an_unreachable_server_is_named():
    with socket.socket() as deaf:  # the port is taken, and nobody listens
        deaf.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{deaf.getsockname()[1]}"
        with RecommenderClient(target, config=PATIENT) as client, pytest.raises(UnavailableError) as caught:
            client.recommend({})
    assert caught.value.target == target
    assert "crossrec serve" in caught.value.mend


def test_the_deadline_covers_the_whole_call(bundle_server):
    # A server that accepts and never answers.
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        target = f"127.0.0.1:{mute.getsockname()[1]}"
        with RecommenderClient(target, config=ClientConfig(deadline_seconds=0.3)) as client:
            start = time.perf_counter()
            with pytest.raises(DeadlineExceededError):
                client.recommend({})
            assert time.perf_counter() - start < 20
    with RecommenderClient(bundle_server.target) as client, pytest.raises(RequestError, match="deadline_seconds"):
        client.recommend({}, deadline_seconds=0)


def test_a_model_that_is_no_bundle_is_refused(adder):
    with RecommenderClient(adder.target, "m", PATIENT) as client:
        with pytest.raises(ContractError, match="no output 'item_ids'"):
            client.recommend({"x": 1.0})
        with pytest.raises(ContractError, match="no signature 'rank'"):
            client.rank({"candidate_items": ["a"]})


def test_a_new_version_with_other_inputs_is_learned(bundle_path, tmp_path):
    copy_version(bundle_path / "3", tmp_path, "3")
    with serve_here(tmp_path) as server:
        server.caller()
        with RecommenderClient(server.target, "m", PATIENT) as client:
            assert "age" not in echo(client.recommend({}))
            staging = tmp_path / "staging"
            save_bundle(staging, 4, extra_input=True)
            os.rename(staging / "4", tmp_path / "4")
            # Available a moment before requests without a version go there; when the old one is gone they surely do.
            until(lambda: {one.version: one.state for one in client.status()}.get(3) == "END")
            # More inputs: the server refuses the old set, the client reads the new one and asks again.
            answer = client.recommend({})
            assert (answer.model_version, echo(answer)["age"]) == (4, "nan")
            # Back to fewer inputs, with one that the old version does not have.
            shutil.rmtree(tmp_path / "4")
            until(lambda: {one.version: one.state for one in client.status()}[3] == "AVAILABLE")
            until(lambda: {one.version: one.state for one in client.status()}[4] == "END")
            assert client.recommend({}).model_version == 3
            with pytest.raises(RequestError, match="age=3: is no input"):
                client.recommend({"age": 3})


def test_a_feature_of_a_new_version_is_found(bundle_path, tmp_path):
    copy_version(bundle_path / "3", tmp_path, "3")
    with serve_here(tmp_path) as server:
        server.caller()
        with RecommenderClient(server.target, "m", PATIENT) as client:
            client.recommend({})
            save_bundle(tmp_path / "staging", 4, extra_input=True)
            os.rename(tmp_path / "staging" / "4", tmp_path / "4")
            until(lambda: {one.version: one.state for one in client.status()}.get(3) == "END")
            assert echo(client.recommend({"age": 3}))["age"] == "3.000000"


@pytest.fixture(scope="module")
def two_versions(bundle_path, tmp_path_factory):
    """Base path with version 3 and a version 4 that takes `age` too."""
    path = tmp_path_factory.mktemp("two")
    copy_version(bundle_path / "3", path, "3")
    return save_bundle(path, 4, extra_input=True)


@pytest.fixture
def labelled(two_versions):
    """A server of both versions, and a call that moves its labels."""
    with serve_here(two_versions, model_config=model_config(model("m", two_versions, versions=[3, 4]))) as server:
        caller = server.caller()
        caller.wait_for({4: "AVAILABLE", 3: "AVAILABLE"})
        yield server, lambda **labels: caller.reload(model("m", two_versions, versions=[3, 4], labels=labels))


@pytest.mark.parametrize("kind", TWINS)
def test_labels_and_versions_are_asked_for_each_with_its_own_inputs(labelled, kind):
    server, move = labelled
    move(stable=3, canary=4)
    client = TWINS[kind](server.target, "m", ClientConfig(version_label="stable", deadline_seconds=30.0))
    assert client.recommend({}).model_version == 3
    answer = client.recommend({"age": 3}, version_label="canary")
    assert (answer.model_version, echo(answer)["age"]) == (4, "3.000000")
    assert client.rank({"candidate_items": ["a"]}, version=4).model_version == 4
    assert client.metadata(version_label="canary").version == 4
    with pytest.raises(RequestError, match="age=3: is no input"):
        client.recommend({"age": 3})
    move(stable=4, canary=4)
    assert client.recommend({"age": 3}).model_version == 4
    assert client.recommend({}).model_version == 4
    move(stable=3, canary=4)
    assert client.recommend({}).model_version == 3
    assert "age" not in echo(client.recommend({}))
    with pytest.raises(RequestRefusedError, match="Unrecognized servable version label: other"):
        client.recommend({}, version_label="other")
    client.close()


def test_labels_move_under_steady_calls(labelled):
    server, move = labelled
    move(stable=3)
    stop, problems, versions = threading.Event(), [], []
    with RecommenderClient(server.target, "m", ClientConfig(version_label="stable", deadline_seconds=30.0)) as client:

        def ask(name):
            while not stop.is_set():
                try:
                    answer = client.recommend({"user_id": name})
                except Exception as error:
                    problems.append(error)
                    return
                versions.append(answer.model_version)
                if echo(answer)["user_id"] != name or ("age" in echo(answer)) != (answer.model_version == 4):
                    problems.append(answer)

        threads = [threading.Thread(target=ask, args=(f"u{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for turn in range(20):
            seen = len(versions)
            move(stable=4 - turn % 2)
            until(lambda: problems or 4 - turn % 2 in versions[seen:])  # noqa: B023 - called at once
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []


@pytest.mark.parametrize("kind", TWINS)
def test_mutual_tls_with_the_server(bundle_path, tmp_path, kind):
    pytest.importorskip("cryptography")
    from tests.unit.serving.test_client_security import Authority

    ours = Authority("ours")
    key, chain = ours.issue("127.0.0.1")
    config = tmp_path / "ssl.config"
    pem = {"server_key": key, "server_cert": chain, "custom_ca": ours.pem}
    lines = [f'{name}: "{text.decode()}"' for name, text in pem.items()]
    config.write_text("\n".join([*lines, "client_verify: true"]))
    own_key, own_chain = ours.issue("client")
    with serve_here(bundle_path, ssl_config_file=config) as server:
        server.caller()
        for tls, admitted in ((TlsConfig(ours.pem, own_chain, own_key), True), (TlsConfig(ours.pem), False)):
            client = TWINS[kind](server.target, "m", ClientConfig(deadline_seconds=30.0, tls=tls))
            if admitted:
                assert client.recommend({}).ids == tuple(CATALOGUE[:LIST_SIZE])
            else:
                with pytest.raises(UnavailableError):
                    client.recommend({})
            client.close()


def test_a_closed_client_says_so(bundle_server):
    client = RecommenderClient(bundle_server.target, config=PATIENT)
    client.recommend({})
    client.close()
    with pytest.raises(ClientStateError, match="closed"):
        client.recommend({})
