import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The directory of a tiny BERT with random weights."""
    from tests.unit.components.text.pretrained import write_directory

    return write_directory(tmp_path_factory.mktemp("pretrained") / "tiny")
