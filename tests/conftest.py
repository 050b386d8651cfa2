"""What tests of several folders share."""

import os

import pytest

# Before any test imports TensorFlow: processes that tests start inherit it, and some must print nothing.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_READERS = "tests/end_to_end/"


@pytest.fixture(scope="session")
def marketplace_run(tmp_path_factory):
    """One run of the whole pipeline through the command line, see `tests.end_to_end.marketplace.Run`.

    Minutes of work: tests may read it, and run the command again on its root, but must leave what the first
    run made as it is.
    """
    from tests.end_to_end import marketplace

    return marketplace.make(tmp_path_factory.mktemp("marketplace"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A worker takes a whole file, and one of them all tests that read the run above."""
    from xdist.scheduler import LoadScopeScheduling

    class Whole(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            return _READERS if file.startswith(_READERS) else file

    return Whole(config, log)
