from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from crossrec.pipeline.simulation import SimulationConfig, Truth, load_rows, simulate


class Market(NamedTuple):
    folder: Path
    config: SimulationConfig
    truth: Truth
    rows: Any  # pandas frame: interactions joined with their items


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    folder = tmp_path_factory.mktemp("simulation") / "market"
    config = SimulationConfig(rows=200_000, seed=7)
    truth = simulate(config, folder)
    return Market(folder, config, truth, load_rows(folder).to_pandas())
