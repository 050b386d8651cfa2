"""Several targets: how calls are spread, when a target is left out, and how it comes back."""

import random

import pytest

from crossrec.serving.client import BalanceConfig, RecommenderClient, RequestError, UnavailableError
from crossrec.serving.client.balancing import TargetPool
from crossrec.serving.client.policy import ejection_seconds
from crossrec.serving.launch.ports import free_port
from tests.unit.serving.faulty_server import CODE, ITEMS, FaultyServer, fail
from tests.unit.serving.serve_here import until


@pytest.fixture
def servers():
    servers = [FaultyServer(), FaultyServer(), FaultyServer()]
    yield servers
    for server in servers:
        server.stop()


def targets(servers):
    return [server.target for server in servers]


def counts(servers):
    return [len(server.predicts) for server in servers]


def pool_of(count, **settings):
    return TargetPool([f"t{number}" for number in range(count)], BalanceConfig(**settings), random.Random(1))


# The pool alone, with a clock of the test's own.


def test_round_robin_takes_turns():
    pool = pool_of(3, policy="round_robin")
    taken = [pool.acquire().address for _ in range(9)]
    assert taken[:3] == taken[3:6] == taken[6:]
    assert set(taken[:3]) == {"t0", "t1", "t2"}


def test_the_less_busy_of_two_is_taken():
    pool = pool_of(2)
    busy = pool.acquire()
    others = [pool.acquire() for _ in range(3)]
    assert others[0] is not busy
    assert sorted(one.in_flight for one in pool.targets) == [2, 2]


def test_two_choices_keep_the_load_even():
    pool = pool_of(10)
    for _ in range(1000):
        pool.acquire()
    loads = [one.in_flight for one in pool.targets]
    assert sum(loads) == 1000
    assert max(loads) - min(loads) <= 6, "drawing one target at random would spread by thirty and more"


def test_what_was_tried_is_avoided_where_there_is_another():
    pool = pool_of(3)
    for _ in range(50):
        one = pool.acquire()
        two = pool.acquire([one])
        three = pool.acquire([one, two])
        assert len({one, two, three}) == 3
        assert pool.acquire([one, two, three]) in pool.targets


def test_a_target_is_ejected_after_failures_in_a_row():
    pool = pool_of(2, eject_after=3)
    bad = pool.targets[0]
    for failed, ejects in [(True, None), (True, None), (False, None), (True, None), (True, None), (True, True)]:
        assert pool.release(pool.acquire(only="t0"), failed, 0.0) is ejects
    assert bad.ejected_until is not None
    assert {pool.acquire().address for _ in range(20)} == {"t1"}


def test_an_ejected_target_is_probed_once_its_time_is_over():
    pool = pool_of(2, eject_after=1, ejection_seconds=10.0)
    bad = pool.targets[0]
    pool.release(pool.acquire(only="t0"), True, 100.0)
    assert 105.0 <= bad.ejected_until <= 110.0
    assert pool.due_probe(104.9) is None
    assert pool.due_probe(110.1) is bad
    assert pool.due_probe(110.2) is None, "one probe at a time"
    assert pool.probed(bad, False, 111.0) is None
    assert 121.0 <= bad.ejected_until <= 131.0, "twice as long"
    assert pool.due_probe(131.1) is bad
    assert pool.probed(bad, None, 132.0) is None, "given up: still due"
    assert pool.due_probe(132.0) is bad
    assert pool.probed(bad, True, 133.0) is False
    assert {pool.acquire().address for _ in range(20)} == {"t0", "t1"}


def test_a_target_that_came_back_is_on_probation():
    pool = pool_of(2, eject_after=3, ejection_seconds=1.0)
    for _ in range(3):
        pool.release(pool.acquire(only="t0"), True, 0.0)
    pool.probed(pool.due_probe(2.0), True, 2.0)
    assert pool.release(pool.acquire(only="t0"), True, 2.0) is True, "one failure is enough"
    assert pool.status()[0].ejections == 2
    pool.probed(pool.due_probe(9.0), True, 9.0)
    assert pool.release(pool.acquire(only="t0"), False, 9.0) is None
    assert pool.release(pool.acquire(only="t0"), True, 9.0) is None, "an answer ended the probation"
    for _ in range(3):
        pool.release(pool.acquire(only="t0"), False, 9.0)
    assert pool.status()[0].ejections == 0


@pytest.mark.parametrize(
    ("count", "fraction", "allowed"),
    [(1, 1.0, 0), (2, 0.5, 1), (3, 0.5, 2), (4, 0.5, 2), (5, 0.0, 0), (4, 1.0, 3)],
)
def test_only_so_many_are_ejected(count, fraction, allowed):
    pool = pool_of(count, eject_after=1, max_ejected_fraction=fraction)
    for address in [one.address for one in pool.targets] * 3:
        pool.release(pool.acquire(only=address), True, 0.0)
    assert sum(one.ejected for one in pool.status()) == allowed
    assert pool.acquire() in pool.targets


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_pool_keeps_its_promises(seed):
    source = random.Random(seed)
    settings = {"policy": source.choice(["round_robin", "power_of_two"]), "eject_after": source.randint(1, 3)}
    pool = pool_of(source.randint(1, 5), **settings)
    allowed = min(len(pool.targets) - 1, -(-len(pool.targets) // 2))
    now, held, probing = 0.0, [], []
    for _ in range(2000):
        now += source.expovariate(10)
        step = source.random()
        if step < 0.45:
            target = pool.acquire(held[:2])
            assert target.ejected_until is None
            held.append(target)
        elif step < 0.9 and held:
            target = held.pop(source.randrange(len(held)))
            if source.random() < 0.1:
                pool.abandon(target)
            else:
                pool.release(target, source.random() < 0.5, now)
        elif probing:
            pool.probed(probing.pop(), source.choice([True, False, None]), now)
        else:
            due = pool.due_probe(now)
            if due is not None:
                assert due.ejected_until <= now
                probing.append(due)
        status = pool.status()
        assert sum(one.in_flight for one in status) == len(held)
        assert sum(one.ejected for one in status) <= allowed


def test_the_time_out_grows_to_its_bound_with_jitter():
    config = BalanceConfig(ejection_seconds=1.0, max_ejection_seconds=30.0)
    for ejections, bound in [(1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (5000, 30.0)]:
        assert ejection_seconds(config, ejections, 0.0) == bound / 2
        assert bound / 2 < ejection_seconds(config, ejections, 0.999) < bound


# Both clients with real servers.


def test_calls_are_spread_in_turns(connect, servers):
    client = connect(targets(servers), balance=BalanceConfig(policy="round_robin"))
    for _ in range(30):
        assert client.recommend({}).ids == ITEMS
    assert counts(servers) == [10, 10, 10]


def test_calls_are_spread_by_two_choices(connect, servers):
    client = connect(targets(servers))
    for _ in range(200):
        client.recommend({})
    # A third of the calls, and seven standard deviations less.
    assert min(counts(servers)) >= 20


def test_a_name_with_several_addresses_is_spread_over_them(connect, servers):
    client = connect("ipv4:" + ",".join(targets(servers)))

    def all_asked():
        assert client.recommend({}).ids == ITEMS
        return min(counts(servers)) >= 3

    until(all_asked)
    assert len(client.target_status()) == 1


def test_a_bad_target_gets_no_calls_until_a_probe_went_well(connect, servers):
    bad = servers[0]
    bad.always = fail(CODE.UNAVAILABLE)
    balance = BalanceConfig(eject_after=3, ejection_seconds=2.0, max_ejection_seconds=2.0)
    client = connect(targets(servers), balance=balance)
    while not client.target_status()[0].ejected:
        assert client.recommend({}).ids == ITEMS, "no call fails"
        assert len(bad.predicts) <= 3
    assert len(bad.predicts) == 3
    # Probes are sent beside calls; a bad one brings nothing back, and no caller notices.
    while len(bad.predicts) == 3:
        assert client.recommend({}).attempts == 1
    until(lambda: bad.predicts[3].ended.is_set())
    assert client.target_status()[0].ejected
    bad.always = None
    while client.target_status()[0].ejected:
        assert client.recommend({}).attempts == 1
    # The time out is drawn between one second and two; nothing but the probe came in it.
    failed, bad_probe, good_probe = (one.time for one in bad.predicts[2:5])
    assert bad_probe - failed >= 1.0 and good_probe - bad_probe >= 1.0
    begin = len(bad.predicts)
    for _ in range(200):
        client.recommend({})
    assert len(bad.predicts) >= begin + 20


def test_a_target_that_went_away_costs_no_call(connect, servers):
    client = connect(targets(servers))
    for _ in range(10):
        client.recommend({})
    servers[1].stop()
    while not client.target_status()[1].ejected:
        assert client.recommend({}).ids == ITEMS
    for _ in range(40):
        assert client.recommend({}).ids == ITEMS


def test_a_server_that_comes_back_is_found(connect, servers):
    first = FaultyServer(address=f"127.0.0.1:{free_port()}")
    client = connect(first.target)
    client.recommend({})
    first.stop()
    with pytest.raises(UnavailableError):
        client.recommend({})
    again = FaultyServer(address=f"127.0.0.1:{first.port}")
    servers.append(again)

    def answers():
        try:
            return client.recommend({}).ids == ITEMS
        except UnavailableError:
            return False

    until(answers)


def test_where_all_are_bad_the_caller_hears_of_it(connect, servers):
    for server in servers:
        server.always = fail(CODE.UNAVAILABLE)
    client = connect(targets(servers))
    for _ in range(12):
        with pytest.raises(UnavailableError):
            client.recommend({})
    assert sum(one.ejected for one in client.target_status()) == 2
    servers[0].always = servers[1].always = servers[2].always = None
    until(lambda: _answered(client))


def _answered(client):
    try:
        return client.recommend({}).ids == ITEMS
    except UnavailableError:
        return False


def test_a_refused_request_does_not_speak_against_the_target(connect, servers):
    client = connect(targets(servers))
    for server in servers:
        server.always = fail(CODE.INVALID_ARGUMENT)
    for _ in range(20):
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            client.recommend({})
    assert not any(one.ejected for one in client.target_status())


def test_targets_of_different_versions_each_get_what_they_take(connect, servers):
    servers[1].version = 2
    servers[1].inputs = {**servers[1].inputs, "age": ("float32", 1)}
    client = connect(targets(servers), balance=BalanceConfig(policy="round_robin"))
    versions = {client.recommend({"user_id": "u"}).model_version for _ in range(12)}
    assert versions == {1, 2}
    for server in servers:
        assert {frozenset(one.inputs()) for one in server.predicts} == {frozenset(server.inputs) | {"exclude_items"}}
        assert len(server.metadata_calls) == 1


def test_one_target_can_be_asked_for_its_status(connect, servers):
    servers[2].version = 9
    client = connect(targets(servers))
    for server in servers:
        assert [one.version for one in client.status(target=server.target)] == [server.version]
        assert client.metadata(target=server.target).version == server.version
        assert len(server.status_calls) == 1
    with pytest.raises(RequestError, match="none of the client's targets"):
        client.status(target="elsewhere:1")


@pytest.mark.parametrize("given", ["", [], ["a:1", ""], ["a:1", "a:1"]])
def test_targets_that_are_none_are_refused(given):
    with pytest.raises(RequestError, match="targets"):
        RecommenderClient(given)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"policy": "random"}, "policy"),
        ({"eject_after": 0}, "eject_after"),
        ({"ejection_seconds": 0.0}, "ejection_seconds"),
        ({"max_ejection_seconds": -1.0}, "max_ejection_seconds"),
        ({"max_ejected_fraction": 1.5}, "max_ejected_fraction"),
    ],
)
def test_settings_out_of_range_are_refused(settings, name):
    with pytest.raises(ValueError, match=name):
        BalanceConfig(**settings)
