"""Two hundred releases at random under a steady load from eight clients: no failed and no wrong answer."""

import os
import random
import signal

import pytest

from crossrec.serving.launch.ports import free_port
from crossrec.serving.local_server import LocalServer
from crossrec.serving.releases.commands import Options, canary, promote, rollback
from crossrec.serving.releases.configure import configure
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.reconcile import reconcile
from tests.unit.serving.make_models import save_adder
from tests.unit.serving.releases.serving_fleet import LIMITS, SET, Traffic, publish, release, serves

VERSIONS = (1, 2, 3, 4)
SWAPS = 200
FORCED = Options(reason="a swap", force=True)


@pytest.fixture
def root(tmp_path):
    pytest.importorskip("tensorflow")
    adders, serving = tmp_path / "adders", tmp_path / "serving"
    adders.mkdir()
    for version in VERSIONS:
        save_adder(adders, version)
        publish(adders, serving, version)
    return serving


def server_process(root, port=0):
    return LocalServer(
        None,
        port=port,
        startup_seconds=600,
        flags=[
            f"--model_config_file={root / 'models.config'}",
            "--allow_version_labels_for_unavailable_models",
            "--file_system_poll_wait_seconds=0.05",
            "--max_num_load_retries=0",
        ],
    )


def swap(context, chooser):
    """One release at random; returns the versions that the labels must have then."""
    one = context.store.read().sets[SET]
    stable = one.stable
    others = [release(version) for version in VERSIONS if release(version) != stable]
    move = chooser.choice(["canary", "promote", "rollback", "rollback to"])
    if move == "canary":
        target = one.canary.release if one.canary else chooser.choice(others)
        canary(context, SET, target, chooser.uniform(0, 100), FORCED)
    elif move == "promote":
        promote(context, SET, one.canary.release if one.canary else chooser.choice(others), FORCED)
    elif move == "rollback" and (one.canary or one.former):
        if one.canary is None and all(one.rejection(former) for former in one.former):
            return swap(context, chooser)
        rollback(context, SET, None, FORCED)
    else:
        rollback(context, SET, chooser.choice(others), FORCED)
    after = context.store.read().sets[SET]
    return {label: found.by_model()["m"] for label, found in after.labels().items()}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_swaps_and_rollbacks_under_load(root):
    chooser = random.Random(20)
    context = Context.for_root(root, actor="chooser")
    configure(context, {}, {"replicas": ("127.0.0.1:1",)}, {**LIMITS, "requests": 2})
    promote(context, SET, release(1), Options())  # nobody serves yet
    with server_process(root) as server:
        configure(context, {}, {"replicas": (server.target,)}, {})
        assert reconcile(context).behind == []
        moves = 0
        with Traffic([server.target] * 4, pause=0.005) as traffic:
            for _ in range(SWAPS):
                wanted = swap(context, chooser)
                moves += 1
                assert serves(server)[1] == wanted
        assert traffic.failures == []
        assert {("stable", version) for version in VERSIONS} <= traffic.versions
        assert traffic.answers > 10 * moves
        print(f"{moves} swaps, {traffic.answers} answers of versions {sorted(traffic.versions)}")
    ends = [event["event"] for event in context.ledger.events() if event["event"] in ("done", "undone", "withdrawn")]
    assert ends == ["done"] * (SWAPS + 1)


def test_a_server_that_is_killed_comes_back_with_its_labels(root):
    context = Context.for_root(root)
    configure(context, {}, {"replicas": ("127.0.0.1:1",)}, LIMITS)
    promote(context, SET, release(1), Options())
    port = free_port()
    with server_process(root, port) as server:
        configure(context, {}, {"replicas": (server.target,)}, {})
        canary(context, SET, release(2), 5.0, Options())
        os.kill(server.pid, signal.SIGKILL)
    with server_process(root, port) as again:
        found = reconcile(context)
        assert found.behind == []
        assert serves(again) == ([1, 2], {"stable": 1, "canary": 2})
