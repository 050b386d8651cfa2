import pytest

from tests.unit.serving.releases.make_bundle import make_bundle


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "serving_root"
