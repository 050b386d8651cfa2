"""The state in a ConfigMap: Kubernetes' own client against an API server with its rules for resourceVersion."""

import dataclasses
import time

import pytest

from crossrec.serving.releases.commands import Options, promote
from crossrec.serving.releases.config_map_store import ConfigMapStore
from crossrec.serving.releases.configure import configure
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.errors import ConflictError, ReleaseError
from crossrec.serving.releases.fleet import Fleet
from crossrec.serving.releases.reconcile import reconcile
from crossrec.serving.releases.state import ReleaseState
from crossrec.serving.releases.wanted import models_config_text
from tests.unit.serving.releases.api_server import ApiServer
from tests.unit.serving.releases.serving_fleet import LIMITS, SET, fleet, publish, release, serves

kubernetes = pytest.importorskip("kubernetes")
pytestmark = pytest.mark.filterwarnings("ignore:HTTPResponse.getheaders:DeprecationWarning")


@pytest.fixture
def server():
    with ApiServer() as running:
        yield running


def store(server, namespace="shop"):
    configuration = kubernetes.client.Configuration(host=server.address)
    configuration.retries = 0
    api = kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(configuration))
    return ConfigMapStore("releases", namespace, api)


def test_state_and_configuration_change_in_one_step(server):
    mine = store(server)
    assert mine.read() is None
    first = mine.write(ReleaseState(Fleet("/models")))
    server.objects["shop", "releases"]["data"]["somebody's"] = "own"
    server.objects["shop", "releases"]["metadata"]["labels"] = {"app": "shop"}
    assert mine.read() == first
    second = mine.write(first)
    held = server.objects["shop", "releases"]
    assert held["data"]["models.config"] == models_config_text(second)
    assert held["data"]["somebody's"] == "own" and held["metadata"]["labels"] == {"app": "shop"}
    assert store(server).read() == second


def test_of_two_writers_one_wins(server):
    mine, other = store(server), store(server)
    state = mine.write(ReleaseState(Fleet("/models")))
    theirs = other.read()
    written = mine.write(state)
    with pytest.raises(ConflictError, match="configmap shop/releases: somebody else changed it meanwhile"):
        other.write(theirs)
    assert other.read() == written
    newcomer = store(server)
    with pytest.raises(ConflictError, match="somebody else"):
        newcomer.write(ReleaseState(Fleet("/models")))


def test_refusals_name_the_mend(server):
    with pytest.raises(
        ReleaseError, match="configmap forbidden/releases: cannot create: 403 .*verbs get, create and update"
    ):
        store(server, "forbidden").write(ReleaseState(Fleet("/models")))
    away = store(server)
    server.server.shutdown()
    server.server.server_close()
    with pytest.raises(ReleaseError, match="configmap shop/releases: cannot read: .*see that the API server answers"):
        away.read()


class Killed(BaseException):
    pass


def test_a_release_over_a_config_map(server, adder_path, tmp_path):
    root = tmp_path / "serving"
    for version in (1, 2):
        publish(adder_path, root, version)
    with fleet(root, context=Context.for_root(root, store=store(server), actor="ann@desk")) as (context, servers):
        promote(context, SET, release(1), Options())

        def kill(step):
            if step == "committed":
                raise Killed

        with pytest.raises(Killed):
            promote(dataclasses.replace(context, on_step=kill), SET, release(2), Options())
        other = Context.for_root(root, store=store(server), actor="bob@phone")
        # No lock tells whether ann's process lives: its lease has to end first.
        with pytest.raises(ConflictError, match="begun by ann@desk.*--take-over"):
            reconcile(other)
        lease = other.store.read().operation.lease_until
        assert 0 < lease - time.time() <= LIMITS["load_timeout_seconds"] + 60
        assert reconcile(other, take_over=True).done[0].startswith("finished: promote 2")
        assert [serves(one) for one in servers] == [([1, 2], {"stable": 2, "canary": 2})] * 2
        # Ann's process was alive after all: its next write is refused.
        with pytest.raises(ConflictError, match="somebody else changed it"):
            context.store.write(other.store.read())
        assert other.store.read().sets[SET].stable == release(2)
        configure(other, {}, {}, {"requests": 7})
        assert store(server).read().fleet.limits.requests == 7
