"""The state as a document, what an operation makes of it, and what servers are told."""

import dataclasses
import json

import pytest
from google.protobuf import text_format

from crossrec.serving.contract.messages import ModelServerConfig
from crossrec.serving.releases.errors import ConflictError, InvalidStateError, UsageError
from crossrec.serving.releases.fleet import Fleet, Limits, Tls
from crossrec.serving.releases.release import Release, parse_release
from crossrec.serving.releases.state import (
    Canary,
    Kind,
    Operation,
    Phase,
    Pin,
    Rejected,
    ReleaseSet,
    ReleaseState,
    state_from_text,
    state_to_text,
)
from crossrec.serving.releases.store import FileStore
from crossrec.serving.releases.transitions import committed
from crossrec.serving.releases.wanted import models_config_text, traffic, wanted_models

OTHERS = 'model_config_list { config { name: "spelling" base_path: "/other/spelling" model_platform: "tensorflow" } }'


def shop(retrieval, ranking=None):
    return Release.of({"retrieval": retrieval, "ranking": ranking or retrieval})


def operation(kind, target, phase=Phase.LOAD, **fields):
    return Operation("id1", kind, "shop", shop(1), target, phase, **fields)


FULL = ReleaseState(
    Fleet(
        "/models",
        ("a:8500", "dns:///pods:8500"),
        memory_limit_bytes=2**30,
        tls=Tls("ca.pem", "own.pem", "own.key"),
        limits=Limits(p99_ms=50.0, requests=5),
    ),
    {
        "shop": ReleaseSet(
            ("retrieval", "ranking"),
            shop(3),
            Canary(shop(4, 5), 12.5),
            shop(2),
            (shop(2), shop(1)),
            (Pin(shop(1), True, "why"),),
            (Rejected(shop(9), "slow", "2026-01-01T00:00:00+00:00"),),
        ),
        "empty": ReleaseSet(("m",)),
    },
    operation(Kind.ROLLBACK, shop(4, 5), Phase.MOVE, holding=(shop(3), shop(4, 5)), reason="ü", lease_until=1.5),
    41,
)


def test_a_state_survives_its_text():
    assert state_from_text(state_to_text(FULL), "here") == FULL
    bare = ReleaseState(Fleet("/models"))
    assert state_from_text(state_to_text(bare), "here") == bare


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=2), "format: 2 instead of 1"),
        (lambda d: d.pop("fleet"), "'fleet' is missing"),
        (
            lambda d: d["sets"]["shop"].update(stable={"ranking": "3"}),
            r"sets.shop.stable: {'ranking': '3'} is no object",
        ),
        (lambda d: d["fleet"].update(server_root="models"), "fleet.server_root: 'models' is no absolute path"),
        (lambda d: d["fleet"].update(colour="red"), "fleet: .*colour"),
        (lambda d: d["operation"].update(phase="later"), "'later' is not a valid Phase"),
    ],
)
def test_a_damaged_state_names_place_and_field(change, message):
    document = json.loads(state_to_text(FULL))
    change(document)
    with pytest.raises(InvalidStateError, match=f"/x/state.json: is no release state: .*{message}.*restore it"):
        state_from_text(json.dumps(document), "/x/state.json")


def test_a_state_that_is_no_json_is_named():
    with pytest.raises(InvalidStateError, match="/x: is no release state: .*restore it from a copy"):
        state_from_text("{", "/x")


def test_the_store_writes_whole_states_in_turn(tmp_path):
    store = FileStore(tmp_path)
    assert store.read() is None
    first = store.write(ReleaseState(Fleet("/models")))
    second = store.write(dataclasses.replace(first, sets={"m": ReleaseSet(("m",))}))
    assert (first.generation, second.generation, store.read()) == (1, 2, second)
    with pytest.raises(ConflictError, match=r"generation 2 instead of 1"):
        store.write(first)
    assert store.read() == second


def test_servers_are_told_versions_and_labels_of_every_phase():
    one = ReleaseSet(("retrieval", "ranking"), shop(3), kept=shop(2))
    state = ReleaseState(Fleet("/models"), {"shop": one})

    def told(changed, phase):
        holding = (shop(3), shop(2), shop(4, 5))
        now = state.with_set("shop", changed)
        wanted = wanted_models(
            dataclasses.replace(now, operation=operation(Kind.PROMOTE, shop(4, 5), phase, holding=holding))
        )
        return wanted["ranking"].versions, dict(wanted["ranking"].labels), wanted["retrieval"].versions

    after = committed(one, operation(Kind.PROMOTE, shop(4, 5)), keep_previous=True)
    assert told(one, Phase.LOAD) == ((2, 3, 5), {"stable": 3, "canary": 3}, (2, 3, 4))
    assert told(after, Phase.MOVE) == ((2, 3, 5), {"stable": 5, "canary": 5}, (2, 3, 4))
    assert told(after, Phase.SETTLE) == ((3, 5), {"stable": 5, "canary": 5}, (3, 4))
    assert told(one, Phase.UNDO) == ((2, 3), {"stable": 3, "canary": 3}, (2, 3))


def test_models_config_is_what_tensorflow_serving_reads():
    state = dataclasses.replace(FULL, operation=None, fleet=dataclasses.replace(FULL.fleet, other_models=OTHERS))
    config = text_format.Parse(models_config_text(state), ModelServerConfig())
    found = {
        model.name: (
            model.base_path,
            model.model_platform,
            list(model.model_version_policy.specific.versions),
            dict(model.version_labels),
        )
        for model in config.model_config_list.config
    }
    # Set "empty" has nothing to serve yet.
    assert found == {
        "spelling": ("/other/spelling", "tensorflow", [], {}),
        "ranking": ("/models/ranking", "tensorflow", [1, 2, 3, 5], {"stable": 3, "canary": 5}),
        "retrieval": ("/models/retrieval", "tensorflow", [1, 2, 3, 4], {"stable": 3, "canary": 4}),
    }
    bare = dataclasses.replace(state, fleet=dataclasses.replace(state.fleet, labels_in_file=False))
    assert "version_labels" not in models_config_text(bare)
    shares = {"stable": 87.5, "canary": 12.5}
    assert traffic(state) == {"retrieval": shares, "ranking": shares}


def test_operations_compose_as_operators_expect():
    one = ReleaseSet(("retrieval", "ranking"))
    for kind, version, keep in (
        (Kind.PROMOTE, 1, True),
        (Kind.CANARY, 2, True),
        (Kind.PROMOTE, 2, True),
        (Kind.PROMOTE, 3, True),
    ):
        one = committed(one, operation(kind, shop(version), percent=5.0), keep)
    assert (one.stable, one.canary, one.kept, one.former) == (shop(3), None, shop(2), (shop(2), shop(1)))
    assert committed(one, operation(Kind.PROMOTE, shop(4)), keep_previous=False).kept is None
    back = committed(one, operation(Kind.ROLLBACK, shop(2), reason="bad"), True)
    assert (back.stable, back.kept, back.former) == (shop(2), None, (shop(1),))
    assert [(r.release, r.reason) for r in back.rejected] == [(shop(3), "bad")]
    # Straight to an older one: what lies between is no longer behind it.
    far = committed(one, operation(Kind.ROLLBACK, shop(1), reason="bad"), True)
    assert (far.stable, far.former) == (shop(1), ())
    again = committed(back, operation(Kind.PROMOTE, shop(3)), True)
    assert (again.stable, again.rejected) == (shop(3), ())
    tried = committed(one, operation(Kind.CANARY, shop(4), percent=5.0), True)
    assert tried.labels() == {"stable": shop(3), "canary": shop(4)}
    taken = committed(tried, operation(Kind.WITHDRAW, shop(4), failure="slow"), True)
    assert taken.labels() == {"stable": shop(3), "canary": shop(3)}
    assert taken.rejection(shop(4)).reason == "slow"
    pinned = committed(one, operation(Kind.PIN, shop(1), loaded=True), True)
    assert pinned.loaded() == (shop(3), shop(2), shop(1))
    assert committed(pinned, operation(Kind.UNPIN, shop(1)), True) == one


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fleet("models"), "fleet.server_root: 'models'"),
        (lambda: Fleet("/m", ("host",)), "fleet.replicas: 'host' is no address; give HOST:PORT"),
        (lambda: Fleet("/m", ("a:1", "a:1")), "names one twice"),
        (lambda: Fleet("/m", memory_limit_bytes=0), "fleet.memory_limit_bytes: 0"),
        (lambda: Limits(error_rate=2.0), "limits.error_rate: 2.0 is not between 0 and 1"),
        (lambda: Limits(p99_ms=0.0), "limits.p99_ms: 0.0 is no time"),
        (lambda: Limits(load_timeout_seconds=float("nan")), "limits.load_timeout_seconds: nan"),
        (lambda: Tls(""), "tls.authority: is empty"),
        (lambda: Tls("ca", "cert"), "mutual TLS needs both"),
        (lambda: parse_release("seven", ["a"]), "VERSION: 'seven' is no version; give a number such as 7, or a=N"),
        (lambda: parse_release("-1", ["a"]), "VERSION: '-1' is no version"),
        (lambda: parse_release("a=1,a=2", ["a", "b"]), "'a=2' in 'a=1,a=2' is unknown, no number or given twice"),
        (lambda: parse_release("c=1", ["a", "b"]), "'c=1' in 'c=1' is unknown"),
        (lambda: FULL.release_set("cellar"), "--model cellar: no such model or set; the state knows shop, empty"),
    ],
)
def test_wrong_values_are_named(make, message):
    with pytest.raises(UsageError, match=message):
        make()
