"""Scenes for the kill tests: where a command starts and ends, and what must hold when all is over."""

import dataclasses

from crossrec.serving.releases.context import Context
from crossrec.serving.releases.reconcile import reconcile
from crossrec.serving.releases.state import Canary, Pin, ReleaseSet
from crossrec.serving.releases.store import FileStore
from crossrec.serving.releases.wanted import models_config_text, wanted_models
from tests.unit.serving.releases.killer import KILLED
from tests.unit.serving.releases.serving_fleet import MODEL, SET, release, serves

R1, R2 = release(1), release(2)
ALONE = ReleaseSet((MODEL,), stable=R1)
TRIAL = dataclasses.replace(ALONE, canary=Canary(R2, 5.0))
AFTER = ReleaseSet((MODEL,), stable=R2, kept=R1, former=(R1,))
COLD = dataclasses.replace(AFTER, kept=None)
PINNED = dataclasses.replace(ALONE, pinned=(Pin(R2, True, "a test"),))


def put(context, one):
    """Set the scene: the state says so, and the servers follow."""
    store = FileStore(context.serving_root)
    state = store.read()
    store.write(dataclasses.replace(state.with_set(SET, one), operation=None))
    found = reconcile(context)
    assert not found.behind, found


def plain(one):
    """A set without its times and reasons of rejection."""
    return dataclasses.replace(one, rejected=())


def assert_settled(context, servers, expected, where):
    state = context.store.read()
    assert state.operation is None, where
    assert plain(state.sets[SET]) == expected, where
    wanted = wanted_models(state)[MODEL]
    for server in servers:
        assert serves(server) == (list(wanted.versions), dict(wanted.labels)), (where, server.target)
    assert (context.serving_root / "models.config").read_text() == models_config_text(state), where
    events = [event for event in context.ledger.events() if "id" in event]
    for identifier in {event["id"] for event in events if event["event"] == "started"}:
        ends = [
            e["event"] for e in events if e["id"] == identifier and e["event"] not in ("started", "loaded", "moved")
        ]
        assert len(ends) == 1, (where, identifier, ends)


def kill_at_every_step(scene, running, killer, error=""):
    """Kill a command at each of its steps; `scene` is the command, its begin, its end, and whether it goes on."""
    context, servers, traffic = running
    command, before, after, goes_on = scene
    put(context, before)
    whole = killer.run(context.serving_root, command)
    assert whole["exit"] == 0
    assert whole["error"].startswith(error) and bool(whole["error"]) == bool(error), whole
    assert_settled(context, servers, after, "alive")
    steps = whole["steps"]
    assert len(set(steps)) == len(steps) > 8
    commit = steps.index("committed") if "committed" in steps else len(steps)
    for place, step in enumerate(steps):
        put(context, before)
        assert killer.run(context.serving_root, command, kill=step)["exit"] == KILLED, step
        expected = after if place >= commit or (goes_on and place > 0) else before
        found = reconcile(Context.for_root(context.serving_root, actor="bob@phone"))
        assert not found.behind, (step, found)
        assert_settled(context, servers, expected, step)
    assert traffic.failures == []
