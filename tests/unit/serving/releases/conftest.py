import pytest

from tests.unit.serving.releases.make_bundle import make_bundle


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "serving_root"


@pytest.fixture(scope="module")
def killer():
    """A process that runs commands and kills them."""
    from tests.unit.serving.releases.killer import Killer

    with Killer() as running:
        yield running


@pytest.fixture(scope="module")
def running(adder_path, tmp_path_factory):
    """Two servers with versions 1, 2 and a bad 9, under traffic by label; version 1 is stable."""
    from tests.unit.serving.releases.kill_scenes import ALONE, put
    from tests.unit.serving.releases.serving_fleet import Traffic, fleet, publish

    root = tmp_path_factory.mktemp("kills") / "serving"
    for version in (1, 2):
        publish(adder_path, root, version)
    publish(adder_path, root, 9, source=3)
    with fleet(root) as (context, servers):
        put(context, ALONE)
        with Traffic([server.target for server in servers], pause=0.1) as traffic:
            yield context, servers, traffic
            traffic.wait_for(50)
        assert traffic.failures == []
