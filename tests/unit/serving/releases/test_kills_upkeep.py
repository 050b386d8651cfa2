"""A kill at every step of gc, configure and reconcile: the next reconcile mends it."""

from crossrec.serving.releases.reconcile import reconcile
from crossrec.serving.releases.versions import list_versions
from tests.unit.serving.releases.kill_scenes import AFTER, ALONE, COLD, assert_settled, put
from tests.unit.serving.releases.killer import KILLED
from tests.unit.serving.releases.serving_fleet import MODEL, publish


def test_a_kill_of_gc_leaves_whole_versions_or_none(running, killer, adder_path):
    context, servers, traffic = running
    root = context.serving_root
    put(context, COLD)
    steps = killer.run(root, ["gc"])["steps"]
    assert steps == ["gc recorded m 1", "gc hidden m 1", "gc removed m 1"]
    for step in steps:
        publish(adder_path, root, 1)
        assert killer.run(root, ["gc"], kill=step)["exit"] == KILLED
        reconcile(context)
        assert list_versions(root / MODEL) == ([1, 2, 9] if step == steps[0] else [2, 9])
        assert not list((root / MODEL).glob(".trash-*"))
        killer.run(root, ["gc"])
    publish(adder_path, root, 1)
    assert_settled(context, servers, COLD, "gc")
    assert traffic.failures == []


def test_a_kill_of_configure_leaves_the_old_or_the_new_configuration(running, killer):
    context, servers, _ = running
    put(context, ALONE)
    steps = killer.run(context.serving_root, ["configure", 10])["steps"]
    for number, step in enumerate(steps, start=11):
        old = context.store.read().fleet.limits.requests
        assert killer.run(context.serving_root, ["configure", number], kill=step)["exit"] == KILLED
        assert context.store.read().fleet.limits.requests == (old if step == "recorded" else number)
        reconcile(context)
        assert_settled(context, servers, ALONE, step)


def test_a_kill_of_reconcile_is_mended_by_the_next_one(running, killer):
    context, servers, traffic = running
    root = context.serving_root
    for command, kill, before, expected in (
        (["promote", 2], "committed", ALONE, AFTER),
        (["canary", 2, 5.0], "load shown", ALONE, ALONE),
    ):
        put(context, before)
        killer.run(root, command, kill=kill)
        steps = killer.run(root, ["reconcile"])["steps"]
        assert_settled(context, servers, expected, kill)
        for step in steps:
            put(context, before)
            killer.run(root, command, kill=kill)
            assert killer.run(root, ["reconcile"], kill=step)["exit"] == KILLED, step
            reconcile(context)
            assert_settled(context, servers, expected, (kill, step))
    assert traffic.failures == []
