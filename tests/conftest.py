"""What tests of several folders share."""

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Where several processes share the tests, those that share a run of the pipeline stay in one of them."""
    for item in items:
        place = item.path.relative_to(_TESTS)
        shares_runs = place.parts[0] in ("end_to_end", "integration")
        item.add_marker(pytest.mark.xdist_group(str(place.parent if shares_runs else place)))


@pytest.fixture(scope="session")
def marketplace_run(tmp_path_factory):
    """One run of the whole pipeline through the command line, see `tests.end_to_end.marketplace.Run`.

    Minutes of work: tests may read it, and run the command again on its root, but must leave what the first
    run made as it is.
    """
    from tests.end_to_end import marketplace

    return marketplace.make(tmp_path_factory.mktemp("marketplace"))
