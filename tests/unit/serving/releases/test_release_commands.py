"""Releases on two real servers, under traffic by label: no request fails, whatever is released."""

import threading
import time

import pytest

from crossrec.serving.releases.collect import collect
from crossrec.serving.releases.commands import Options, canary, connected, pin, promote, rollback
from crossrec.serving.releases.configure import configure
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.errors import ConflictError, ReleaseError, UsageError
from crossrec.serving.releases.fleet import Tls
from crossrec.serving.releases.reconcile import reconcile
from crossrec.serving.releases.replica import Replica
from crossrec.serving.releases.state import Canary
from crossrec.serving.releases.versions import list_versions
from tests.unit.serving.releases.serving_fleet import (
    MODEL,
    SET,
    Server,
    Traffic,
    bare_config,
    fleet,
    publish,
    release,
    serves,
)
from tests.unit.serving.serve_here import until
from tests.unit.serving.test_local_server_tls import Authority, write_config

WHY = Options(reason="clicks fell")


@pytest.fixture
def root(adder_path, tmp_path):
    for version in (1, 2, 3):
        publish(adder_path, tmp_path / "serving", version)
    return tmp_path / "serving"


@pytest.fixture
def fleet_of_two(root):
    with fleet(root) as (context, servers):
        promote(context, SET, release(1), Options())
        yield context, servers


def stand(context):
    return context.store.read().sets[SET]


def both(servers, versions, **labels):
    assert [serves(server) for server in servers] == [(versions, labels)] * len(servers)


def test_a_life_of_releases_without_a_failed_request(fleet_of_two):
    context, servers = fleet_of_two
    both(servers, [1], stable=1, canary=1)
    with Traffic([server.target for server in servers]) as traffic:
        traffic.wait_for(0, ("stable", 1), ("canary", 1))
        outcome = canary(context, SET, release(2), 5.0, Options())
        both(servers, [1, 2], stable=1, canary=2)
        traffic.wait_for(0, ("canary", 2))
        checks = [answer.checks["m/2"] for answer in outcome.answers]
        assert [(one.golden, one.requests, one.errors) for one in checks] == [(1, 10, 0)] * 2
        assert all(one.p99_ms >= one.p50_ms > 0 for one in checks)
        promote(context, SET, release(2), Options())
        both(servers, [1, 2], stable=2, canary=2)
        traffic.wait_for(0, ("stable", 2))
        promote(context, SET, release(3), Options())
        both(servers, [2, 3], stable=3, canary=3)
        traffic.wait_for(100, ("stable", 3))
        assert stand(context).former == (release(2), release(1))
        rollback(context, SET, None, WHY)
        both(servers, [2], stable=2, canary=2)
        # The release that failed is not where the next rollback goes to.
        rollback(context, SET, None, WHY)
        both(servers, [1], stable=1, canary=1)
        with pytest.raises(UsageError, match="no earlier good release.*rejected: 3, 2"):
            rollback(context, SET, None, WHY)
    assert traffic.failures == []


def test_a_rejected_release_comes_back_by_force_only(fleet_of_two):
    context, servers = fleet_of_two
    promote(context, SET, release(2), Options())
    rollback(context, SET, None, WHY)
    with pytest.raises(UsageError, match="VERSION 2: was rejected at .*: clicks fell.*--force"):
        promote(context, SET, release(2), Options())
    promote(context, SET, release(2), Options(force=True))
    both(servers, [1, 2], stable=2, canary=2)
    assert stand(context).rejected == ()


def test_a_canary_is_withdrawn_by_rollback_and_its_label_still_answers(fleet_of_two):
    context, servers = fleet_of_two
    canary(context, SET, release(2), 5.0, Options())
    canary(context, SET, release(2), 25.0, Options())
    assert stand(context).canary == Canary(release(2), 25.0)
    rollback(context, SET, None, WHY)
    both(servers, [1], stable=1, canary=1)
    assert stand(context).rejection(release(2)).reason == "clicks fell"


def test_a_server_that_restarts_has_its_labels_at_once(fleet_of_two):
    context, servers = fleet_of_two
    canary(context, SET, release(2), 5.0, Options())
    servers[0].stop()
    servers[0].start()
    # The port opens with the first version that is loaded.
    until(lambda: serves(servers[0])[0] == [1, 2])
    both(servers, [1, 2], stable=1, canary=2)
    assert reconcile(context).changed == []


def test_without_labels_in_the_file_reconcile_gives_them_back(root):
    with fleet(root, labels_in_file=False) as (context, servers):
        promote(context, SET, release(1), Options())
        servers[0].stop()
        servers[0].changes["labels_for_unavailable"] = False
        servers[0].start()
        assert serves(servers[0]) == ([1], {})
        assert reconcile(context).changed == [servers[0].target]
        both(servers, [1], stable=1, canary=1)


def test_a_replica_that_is_down_is_told_and_caught_up(fleet_of_two, root):
    context, servers = fleet_of_two
    servers[1].stop()
    outcome = promote(context, SET, release(2), Options())
    assert outcome.behind == [servers[1].target]
    assert outcome.answers[1].error.startswith(f"{servers[1].target}: nobody answers; start the server")
    assert reconcile(context).behind == [servers[1].target]
    # It comes back with a configuration of its own, as after a restore from an old disk.
    servers[1].start(bare_config(root, [3]))
    found = reconcile(context)
    assert (found.behind, found.changed) == ([], [servers[1].target])
    both(servers, [1, 2], stable=2, canary=2)


def test_servers_that_poll_the_file_follow_it(root):
    with fleet(root, server={"model_config_poll_seconds": 0.05}, file_polled=True) as (context, servers):
        promote(context, SET, release(1), Options())
        with Traffic([server.target for server in servers]) as traffic:
            canary(context, SET, release(2), 5.0, Options())
            time.sleep(0.3)
            both(servers, [1, 2], stable=1, canary=2)
            promote(context, SET, release(2), Options())
            promote(context, SET, release(3), Options())
            rollback(context, SET, None, WHY)
            time.sleep(0.3)
            both(servers, [2], stable=2, canary=2)
            traffic.wait_for(20)
        assert traffic.failures == []


@pytest.mark.parametrize("polled", [False, True])
def test_a_version_on_trial_is_in_the_file_only_for_servers_that_poll_it(root, polled):
    seen = {}

    def look(step):
        seen[step] = "versions: 2" in (root / "models.config").read_text()

    with fleet(root, file_polled=polled) as (context, _):
        promote(context, SET, release(1), Options())
        canary(Context.for_root(root, on_step=look), SET, release(2), 5.0, Options())
    assert seen["load recorded"] is polled
    assert seen["move shown"] is True


def test_a_replica_that_goes_down_while_it_loads_stops_the_release(fleet_of_two):
    context, servers = fleet_of_two

    def stop(step):
        if step == f"load: checked {servers[0].target}":
            servers[1].stop()

    with pytest.raises(
        ReleaseError, match=f"a replica went down while it loaded 2: {servers[1].target}.*taken back|taken back"
    ):
        promote(Context.for_root(context.serving_root, on_step=stop), SET, release(2), Options())
    assert serves(servers[0]) == ([1], {"stable": 1, "canary": 1})
    assert stand(context).rejected == (), "the server may be to blame as well as the version"


def test_replicas_by_name_and_what_stays_loaded(root):
    with fleet(root, count=1) as (context, servers):
        configure(context, {}, {"replicas": (f"dns:///localhost:{servers[0].port}",)}, {})
        with connected(context.store.read()) as replicas:
            assert servers[0].target in [replica.target for replica in replicas]
        configure(context, {}, {"replicas": (servers[0].target,)}, {})
        promote(context, SET, release(1), Options())
        promote(context, SET, release(2), Options())
        configure(context, {}, {"keep_previous": False}, {})
        reconcile(context)
        both(servers, [2], stable=2, canary=2)
        promote(context, SET, release(3), Options())
        both(servers, [3], stable=3, canary=3)
        assert rollback(context, SET, None, WHY).operation.target == release(2)


def test_other_models_of_the_servers_stay(adder_path, root, tmp_path):
    publish(adder_path, tmp_path / "others", 1, "spelling")
    other = bare_config(tmp_path / "others", [1], "spelling")
    with fleet(root, count=1, other_models=other) as (context, servers):
        for version in (1, 2):
            promote(context, SET, release(version), Options())
            with Replica(servers[0].target, 30.0) as replica:
                assert {v: one.state for v, one in replica.statuses("spelling").items()} == {1: "AVAILABLE"}
        with pytest.raises(UsageError, match="model spelling belongs to fleet.other_models already"):
            configure(context, {"spelling": ["spelling"]}, {}, {})


def test_a_rollback_needs_no_replica_that_is_up(fleet_of_two):
    context, servers = fleet_of_two
    promote(context, SET, release(2), Options())
    for server in servers:
        server.stop()
    with pytest.raises(
        ReleaseError, match=r"0 of 2 replicas answer, and limits.min_replicas is 1.*start those servers"
    ):
        promote(context, SET, release(3), Options())
    outcome = rollback(context, SET, None, WHY)
    assert outcome.behind == [server.target for server in servers]
    for server in servers:
        server.start()
    both(servers, [1], stable=1, canary=1)
    assert reconcile(context).behind == []


def test_the_first_release_may_come_before_the_first_server(root):
    with fleet(root) as (context, servers):
        for server in servers:
            server.stop()
        assert promote(context, SET, release(2), Options()).behind == [server.target for server in servers]
        for server in servers:
            server.start()
        both(servers, [2], stable=2, canary=2)


def test_too_few_replicas_change_nothing(root):
    with fleet(root, limits={"min_replicas": 2}) as (context, servers):
        promote(context, SET, release(1), Options())
        servers[1].stop()
        with pytest.raises(ReleaseError, match=f"1 of 2 replicas answer.*{servers[1].target}"):
            promote(context, SET, release(2), Options())
        assert stand(context).stable == release(1) and stand(context).rejected == ()
        assert serves(servers[0]) == ([1], {"stable": 1, "canary": 1})


def test_of_two_operators_one_wins_and_the_other_is_told(fleet_of_two):
    context, servers = fleet_of_two
    results, barrier = {}, threading.Barrier(2)

    def operate(who, version):
        # Whoever comes first is at work until the other has been told.
        mine = Context.for_root(context.serving_root, actor=who, on_step=lambda step: until(lambda: results))
        barrier.wait()
        try:
            results[who] = promote(mine, SET, release(version), Options())
        except ConflictError as error:
            results[who] = error

    threads = [threading.Thread(target=operate, args=one) for one in (("ann", 2), ("bob", 3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (loser,) = [one for one in results.values() if isinstance(one, ConflictError)]
    assert "is locked by" in str(loser) and "Nothing was changed" in str(loser)
    (winner,) = [one for one in results.values() if not isinstance(one, ConflictError)]
    target = winner.operation.target.by_model()[MODEL]
    both(servers, [1, target], stable=target, canary=target)


def test_an_unfinished_operation_is_named_to_the_next_operator(fleet_of_two):
    context, _ = fleet_of_two

    class Killed(BaseException):
        pass

    def stop(step):
        if step == "committed":
            raise Killed

    with pytest.raises(Killed):
        promote(Context.for_root(context.serving_root, actor="ann@desk", on_step=stop), SET, release(2), Options())
    with pytest.raises(ConflictError, match="promote 2 of m, begun by ann@desk at .* is not finished.*reconcile"):
        promote(context, SET, release(3), Options())
    assert reconcile(context).done[0].startswith("finished: promote 2 of m (by ann@desk")


def test_an_interrupt_before_the_commit_takes_everything_back(fleet_of_two):
    context, servers = fleet_of_two

    def interrupt(step):
        if step.startswith("load: loaded"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        canary(Context.for_root(context.serving_root, on_step=interrupt), SET, release(2), 5.0, Options())
    both(servers, [1], stable=1, canary=1)
    last = context.ledger.events()[-1]
    assert (last["event"], last["failure"]) == ("undone", "interrupted by KeyboardInterrupt")
    assert context.store.read().operation is None and stand(context).rejected == ()


def test_a_pin_keeps_a_version_loaded_and_gc_away(fleet_of_two):
    context, servers = fleet_of_two
    promote(context, SET, release(2), Options())
    promote(context, SET, release(3), Options())
    pin(context, SET, release(1), Options(reason="last year's"), loaded=True)
    both(servers, [1, 2, 3], stable=3, canary=3)
    assert collect(context, 0, dry_run=False) == ([], [])
    pin(context, SET, release(1), Options(), off=True)
    both(servers, [2, 3], stable=3, canary=3)
    with pytest.raises(UsageError, match="VERSION 1: is not pinned in m; pinned are none"):
        pin(context, SET, release(1), Options(), off=True)
    removed, _ = collect(context, 0, dry_run=True)
    assert [(one.model, one.version) for one in removed] == [(MODEL, 1)]
    assert list_versions(context.serving_root / MODEL) == [1, 2, 3]
    assert collect(context, 5, dry_run=False) == ([], [])
    collect(context, 0, dry_run=False)
    assert list_versions(context.serving_root / MODEL) == [2, 3]


def test_gc_spares_what_a_replica_has_loaded(fleet_of_two, root):
    context, servers = fleet_of_two
    promote(context, SET, release(2), Options())
    promote(context, SET, release(3), Options())
    other = Server(root)
    other.start(bare_config(root, [1]))
    try:
        state = context.store.read()
        configure(context, {}, {"replicas": (*state.fleet.replicas, other.target)}, {})
        removed, spared = collect(context, 0, dry_run=False)
        assert removed == [] and spared == [f"m 1: is still loaded at {other.target}; run `crossrec release reconcile`"]
        reconcile(context)
        assert [one.version for one in collect(context, 0, dry_run=False)[0]] == [1]
    finally:
        other.stop()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda c: canary(c, SET, release(1), 5.0, Options()), "VERSION 1: is the stable release of m"),
        (lambda c: canary(c, SET, release(2), 101.0, Options()), "--percent 101: give a share between 0 and 100"),
        (lambda c: promote(c, SET, release(8), Options()), "m 8: .* holds no such version, only 1, 2, 3"),
        (lambda c: promote(c, "shop", release(2), Options()), "--model shop: no such model or set; the state knows m"),
        (lambda c: rollback(c, SET, None, Options(reason=" ")), "--reason: is empty; say why"),
        (lambda c: rollback(c, SET, None, WHY), "no earlier good release"),
    ],
)
def test_a_wrong_argument_is_named_and_changes_nothing(fleet_of_two, act, message):
    context, _ = fleet_of_two
    before = context.store.read()
    with pytest.raises(UsageError, match=message):
        act(context)
    assert context.store.read() == before


def test_a_release_over_mutual_tls(root, tmp_path):
    """By name, too: the addresses behind it are asked for a certificate of that name."""
    own = Authority("releases")
    config = write_config(tmp_path / "ssl.config", *own.issue("server"), own.certificate, True)
    files = dict(zip(("key", "certificate"), own.issue("operator")), authority=own.certificate)
    paths = {}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        paths[name] = str(tmp_path / name)
    with fleet(root, count=1, server={"ssl_config_file": config}, tls=Tls(**paths)) as (context, servers):
        assert promote(context, SET, release(1), Options()).behind == []
        assert promote(context, SET, release(2), Options()).answers[0].labels == {MODEL: {"stable": 2, "canary": 2}}
        configure(context, {}, {"replicas": (f"dns:///localhost:{servers[0].port}",)}, {})
        assert servers[0].target not in reconcile(context).behind
        configure(context, {}, {"tls": None}, {})
        assert servers[0].target in reconcile(context).behind
        with pytest.raises(UsageError, match="tls.authority: .*nowhere.pem cannot be read: .*correct the path"):
            configure(context, {}, {"tls": Tls("nowhere.pem")}, {})
            reconcile(context)
