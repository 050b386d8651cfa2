"""What users do: an examination model of clicks, and purchases among the clicks.

P(click) = examination(position) * sigmoid(relevance), with examination = 1 / position ** eta (the position-based
model: Craswell, Zoeter, Taylor, Ramsey, "An experimental comparison of click position-bias models", 2008).
Relevance adds what an item is worth to anybody, how well it matches the query and the budget, the user's latent
taste, and the planted crosses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .catalogue import Catalogue
from .planted import PLANTED, EffectTable, bucket_codes, effect_table, hour_of_day
from .policy import Impressions, lexical_match, over_budget
from .queries import Queries, noun_matches
from .sessions import RequestArray
from .users import TASTE_SIZE, Users

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

EXAMINATION_EXPONENT = 0.35
_CLICK_BASE = -3.3
_PURCHASE_BASE = -1.85
_TASTE_SD = 0.4


class Behaviour(NamedTuple):
    """What happened to m impressions."""

    clicked: IntArray  # [m] 0 or 1
    purchased: IntArray  # [m] 0 or 1, 1 only where clicked


def sigmoid(logits: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-logits))."""
    return np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float64)


class CellCounts:
    """Counts how often each cell of each planted cross occurs, and how often a row has all inputs.

    Args:
        seed: the simulation's seed.
    """

    def __init__(self, seed: int) -> None:
        self.tables: tuple[EffectTable, ...] = tuple(effect_table(cross, seed) for cross in PLANTED)
        self.cells: list[IntArray] = [np.zeros(table.values.size, dtype=np.int64) for table in self.tables]
        self.covered: list[int] = [0] * len(self.tables)

    def add(self, number: int, codes: tuple[IntArray, ...], rows: npt.NDArray[np.bool_]) -> None:
        """Count rows.

        Args:
            number: which planted cross.
            codes: the rows' codes per input, as for `EffectTable.lookup`.
            rows: which rows count, bool [n].
        """
        wide = any(code.ndim == 2 for code in codes)
        columns = [code[rows] if code.ndim == 2 or not wide else code[rows][:, None] for code in codes]
        columns = list(np.broadcast_arrays(*columns))
        present = np.logical_and.reduce([column >= 0 for column in columns])
        self.covered[number] += int((present.any(axis=1) if wide else present).sum())
        cells = np.ravel_multi_index(tuple(column[present] for column in columns), self.tables[number].values.shape)
        self.cells[number] += np.bincount(cells, minlength=len(self.cells[number]))


def _codes(impressions: Impressions, requests: RequestArray, users: Users, catalogue: Catalogue) -> dict[str, IntArray]:
    """Return the codes of every column that a planted cross may read, int64 [m] or [m, k]."""
    user = requests["user"][impressions.request]
    item = impressions.item
    return {
        "user_segment": users.segment[user].astype(np.int64),
        "user_country": users.country[user].astype(np.int64),
        "device": requests["device"][impressions.request].astype(np.int64),
        "interests": users.interests[user].astype(np.int64),
        "category": catalogue.category[item].astype(np.int64),
        "brand": catalogue.brand[item].astype(np.int64),
    }


def behave(
    rng: np.random.Generator,
    impressions: Impressions,
    request_side: tuple[RequestArray, Queries, Users],
    catalogue: Catalogue,
    counts: CellCounts,
) -> Behaviour:
    """Draw clicks and purchases, and count the cells of the planted crosses.

    Args:
        rng: source of randomness.
        impressions: m impressions.
        request_side: their requests, what these ask for, and the users.
        catalogue: the items.
        counts: the planted effects, and where their cells are counted.
    """
    requests, queries, users = request_side
    request, item = impressions.request, impressions.item
    codes = _codes(impressions, requests, users, catalogue)
    price = catalogue.price[item].astype(np.float64)
    hours = hour_of_day(requests["time"][request]).astype(np.float64)
    effects = {"clicked": np.zeros(len(item)), "purchased": np.zeros(len(item))}
    inputs_of: list[tuple[IntArray, ...]] = []
    for table in counts.tables:
        inputs = []
        for axis in table.cross.inputs:
            if axis.part == "hour":
                inputs.append(bucket_codes(hours, axis.boundaries))
            elif axis.boundaries:
                inputs.append(bucket_codes(price, axis.boundaries))
            else:
                inputs.append(codes[axis.column])
        inputs_of.append(tuple(inputs))
        effects[table.cross.target] += table.lookup(inputs_of[-1])

    category, brand, attributes = lexical_match(queries, request, catalogue, item)
    taste = np.einsum("mt,mt->m", users.taste[requests["user"][request]], catalogue.taste[item])
    relevance = _CLICK_BASE + 0.6 * catalogue.quality[item] + _TASTE_SD / np.sqrt(TASTE_SIZE) * taste
    relevance += 1.1 * category + 1.0 * brand + 0.8 * attributes
    relevance += 0.3 * noun_matches(queries, request, catalogue, item)
    relevance += 0.9 * (queries.browsing[request] & (requests["category"][request] == codes["category"]))
    relevance -= 1.5 * over_budget(requests, request, catalogue, item)
    examined = rng.random(len(item)) < impressions.position.astype(np.float64) ** -EXAMINATION_EXPONENT
    clicked = examined & (rng.random(len(item)) < sigmoid(relevance + effects["clicked"]))

    intent = _PURCHASE_BASE + 0.5 * catalogue.quality[item] + 0.3 * brand + effects["purchased"]
    purchased = clicked & (rng.random(len(item)) < sigmoid(intent))
    for number, table in enumerate(counts.tables):
        counts.add(number, inputs_of[number], clicked if table.cross.target == "purchased" else np.ones_like(clicked))
    return Behaviour(clicked.astype(np.int64), purchased.astype(np.int64))
