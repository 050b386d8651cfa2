"""One catalogue for all tests that read interactions."""

from __future__ import annotations

import pytest
from tfx.types import standard_artifacts

from tests.unit.components.example_gen.support import make_config, run_items, write_tables


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> standard_artifacts.Examples:
    """The examples of `items_frame()`."""
    folder = tmp_path_factory.mktemp("catalogue")
    write_tables(folder)
    return run_items(make_config(), folder, folder / "out")
