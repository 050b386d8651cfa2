import pytest

from tests.unit.serving.make_models import save_adder, save_bundle


@pytest.fixture(params=["sync", "async"])
def connect(request):
    """Makes clients of both kinds."""
    from tests.unit.serving.faulty_server import Connector

    with Connector(request.param) as connector:
        yield connector


@pytest.fixture
def servers():
    """Two servers that do wrong what they are told to."""
    from tests.unit.serving.faulty_server import FaultyServer

    servers = [FaultyServer(), FaultyServer()]
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def tensorflow():
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="session")
def bundle_path(tensorflow, tmp_path_factory):
    """Base path with version 3 of a bundle."""
    return save_bundle(tmp_path_factory.mktemp("bundle"), 3)


@pytest.fixture(scope="session")
def adder_path(tensorflow, tmp_path_factory):
    """Folder with versions 1 to 4 of the adder, to copy from."""
    path = tmp_path_factory.mktemp("adder")
    for version in range(1, 5):
        save_adder(path, version)
    return path


@pytest.fixture(scope="session")
def bundle_server(bundle_path):
    from tests.unit.serving.serve_here import serve_here

    with serve_here(bundle_path, "recommender") as server:
        server.caller()
        yield server


@pytest.fixture(scope="session")
def adder(adder_path, tmp_path_factory):
    """Raw calls to a server of adder version 2."""
    from tests.unit.serving.make_models import copy_version
    from tests.unit.serving.serve_here import serve_here

    base_path = tmp_path_factory.mktemp("adder-served")
    copy_version(adder_path / "2", base_path, "2")
    with serve_here(base_path) as server:
        yield server.caller()
