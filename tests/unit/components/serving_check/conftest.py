import shutil
import tempfile

import pytest

from tests.unit.components.serving_check.small_bundle import save


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory):
    return save(tmp_path_factory.mktemp("small") / "bundle")


@pytest.fixture(autouse=True)
def temporary_files_here(tmp_path, monkeypatch):
    """So that a test sees its own servers only: their command lines name what lies in its folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def bundle(small_bundle, tmp_path):
    return shutil.copytree(small_bundle, tmp_path / "bundle")
