import pytest

from tests.unit.components.serving_check.small_bundle import save


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory):
    return save(tmp_path_factory.mktemp("small") / "bundle")
