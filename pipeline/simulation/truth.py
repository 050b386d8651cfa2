"""The truth file: which crosses were planted, how strong they are, and whether they can be found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from .clicks import EXAMINATION_EXPONENT, CellCounts
from .config import SimulationConfig
from .errors import SimulationError
from .output import TRUTH_FILE
from .planted import CONTROLS, SHADOWS, PlantedCross

DETECTABLE_SIGNAL_TO_NOISE = 2.0
RULE = (
    "A cross is stated detectable when signal_to_noise >= 2.0, with signal_to_noise = effect_sd**2 * n * p * (1 - p): "
    "the variance of its effect (in logits) over the sampling variance of a cell's estimated logit. "
    "n = impressions_per_cell: rows in the median cell among those that occur, each row weighing the same "
    "(for target `purchased`: clicked rows); p = overall rate of the target among those rows. "
    "Above 1, a table learned cell by cell is nearer to the truth than no table; 2 leaves a margin. "
    "It is a rule of thumb: it takes all cells as equally large and ignores that examination dampens effects."
)


class CrossTruth(PlantedCross):
    """A planted cross and what the generated rows say about it.

    Args:
        order: number of inputs.
        coverage: share of rows in which all inputs are present.
        cells: cells of the table.
        cells_seen: cells that occur.
        impressions_per_cell: see the rule.
        signal_to_noise: see the rule.
        detectable: whether signal_to_noise reaches the rule's bound.
    """

    order: int
    coverage: float
    cells: int
    cells_seen: int
    impressions_per_cell: int
    signal_to_noise: float
    detectable: bool


class Truth(BaseModel):
    """What a simulation planted.

    Args:
        version: version of the file's layout.
        seed: the simulation's seed, salt of all effects.
        config: the simulation's parameters, with defaults filled in.
        totals: counts and rates of the generated rows.
        examination_exponent: eta in P(examined) = 1 / position ** eta.
        detectable_rule: how `detectable` is decided.
        crosses: the planted crosses.
        controls: pairs of columns without any interaction.
        shadows: pairs on which nothing is planted, but which inherit part of a planted cross through
            correlated columns.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    seed: int
    config: dict[str, int | str]
    totals: dict[str, int | float]
    examination_exponent: float = EXAMINATION_EXPONENT
    detectable_rule: str = RULE
    crosses: tuple[CrossTruth, ...]
    controls: tuple[tuple[str, str], ...] = CONTROLS
    shadows: tuple[tuple[str, str], ...] = SHADOWS

    def cross(self, name: str) -> CrossTruth:
        """Return a planted cross by name.

        Raises:
            SimulationError: there is none of that name.
        """
        for cross in self.crosses:
            if cross.name == name:
                return cross
        names = ", ".join(cross.name for cross in self.crosses)
        raise SimulationError(f"cross = {name!r}: was not planted; choose one of {names}")


def load_truth(folder: str | Path) -> Truth:
    """Read the truth file of a simulation.

    Args:
        folder: the simulation's folder.

    Raises:
        SimulationError: there is no readable truth file.
    """
    path = Path(folder) / TRUTH_FILE
    try:
        return Truth.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SimulationError(
            f"{path}: cannot be read ({error.strerror}); give the folder that `crossrec simulate` wrote"
        ) from error
    except ValidationError as error:
        raise SimulationError(
            f"{path}: is not a truth file of this version ({error.error_count()} problems); simulate again"
        ) from error


def _median_cell(cells: npt.NDArray[np.int64]) -> int:
    seen = np.sort(cells[cells > 0])
    if not len(seen):
        return 0
    # The cell in which the median row lies: a cell that nobody sees says nothing about what can be learned.
    return int(seen[np.searchsorted(np.cumsum(seen), seen.sum() / 2)])


def _judge(cross: PlantedCross, cells: npt.NDArray[np.int64], coverage: float, rate: float) -> CrossTruth:
    per_cell = _median_cell(cells)
    ratio = round(cross.effect_sd**2 * per_cell * rate * (1 - rate), 3)
    facts: Mapping[str, Any] = cross.model_dump()
    return CrossTruth(
        **facts,
        order=len(cross.inputs),
        coverage=round(coverage, 4),
        cells=int(np.prod([len(axis.levels) for axis in cross.inputs])),
        cells_seen=int((cells > 0).sum()),
        impressions_per_cell=per_cell,
        signal_to_noise=ratio,
        detectable=ratio >= DETECTABLE_SIGNAL_TO_NOISE,
    )


def make_truth(config: SimulationConfig, totals: Mapping[str, int], counts: CellCounts) -> Truth:
    """Write down what was planted.

    Args:
        config: the simulation's parameters.
        totals: `rows`, `users`, `items`, `requests`, `clicks`, `purchases` of the generated data.
        counts: how often the cells of the planted crosses occurred.
    """
    rates = {
        "clicked": totals["clicks"] / totals["rows"],
        "purchased": totals["purchases"] / max(1, totals["clicks"]),
    }
    bases = {"clicked": totals["rows"], "purchased": max(1, totals["clicks"])}
    crosses = tuple(
        _judge(table.cross, cells, covered / bases[table.cross.target], rates[table.cross.target])
        for table, cells, covered in zip(counts.tables, counts.cells, counts.covered)
    )
    filled = {**config.model_dump(), "users": config.user_count, "items": config.item_count}
    return Truth(
        seed=config.seed,
        config=filled,
        totals={
            **totals,
            "click_rate": round(rates["clicked"], 6),
            "purchase_rate": round(rates["purchased"], 6),
        },
        crosses=crosses,
    )
