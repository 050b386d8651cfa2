import pytest


@pytest.fixture(scope="session")
def transformed(tmp_path_factory):
    """The small marketplace after the feature transform; made once, for it takes a while."""
    from tests.unit.components.transformed import run_transform

    return run_transform(str(tmp_path_factory.mktemp("transformed")))
