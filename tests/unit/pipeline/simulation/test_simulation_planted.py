from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from crossrec.pipeline.simulation import SimulationConfig, SimulationError, load_rows, planted_effect, simulate
from crossrec.pipeline.simulation.effects import input_codes
from crossrec.pipeline.simulation.planted import PLANTED, CrossInput, PlantedCross, effect_table

from .conftest import Market

Cells = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def interaction_logits(rows: pd.DataFrame, inputs: tuple[CrossInput, ...], target: str = "clicked") -> Cells:
    """Logit of each cell without the weighted means along every axis, and the number of rows in each cell."""
    codes = [input_codes(axis, rows) for axis in inputs]
    shape = tuple(len(axis.levels) for axis in inputs)
    known = np.logical_and.reduce([code >= 0 for code in codes])
    cell = np.ravel_multi_index([code[known] for code in codes], shape)
    size = int(np.prod(shape))
    count = np.bincount(cell, minlength=size).reshape(shape).astype(float)
    positive = np.bincount(cell, weights=rows[target].to_numpy()[known], minlength=size).reshape(shape)
    logits = np.log((positive + 0.5) / (count - positive + 0.5))
    for axis_number in list(range(len(shape))) * 20:
        total = np.maximum(count.sum(axis=axis_number, keepdims=True), 1)
        logits = logits - (logits * count).sum(axis=axis_number, keepdims=True) / total
    return logits, count


def truth_correlation(market: Market, cross: PlantedCross) -> float:
    rows = market.rows[market.rows.clicked == 1] if cross.target == "purchased" else market.rows
    logits, count = interaction_logits(rows, cross.inputs, cross.target)
    table = effect_table(cross, market.truth.seed).values[(slice(-1),) * len(cross.inputs)]
    kept = count >= 30
    return float(np.corrcoef(logits[kept], table[kept])[0, 1])


GOLDEN = [0.9622932279660881, 0.9622932279660881, 0.9622932279660881, 1.389979107062127]
SINGLE_VALUED = [cross for cross in PLANTED if not any(axis.multi_valued for axis in cross.inputs)]


@pytest.mark.parametrize("cross", SINGLE_VALUED, ids=lambda cross: cross.name)
def test_detectable_crosses_show_in_the_cells_of_the_data(market: Market, cross: PlantedCross) -> None:
    correlation = truth_correlation(market, cross)
    if market.truth.cross(cross.name).detectable:
        assert correlation > 0.75
    else:
        assert correlation < 0.5


def test_the_truth_of_another_seed_does_not_show(market: Market) -> None:
    for cross in SINGLE_VALUED:
        logits, count = interaction_logits(market.rows, cross.inputs)
        other = effect_table(cross, market.truth.seed + 1).values[(slice(-1),) * len(cross.inputs)]
        if (count >= 30).sum() > 200:
            assert abs(np.corrcoef(logits[count >= 30], other[count >= 30])[0, 1]) < 0.2


def split_half_correlation(rows: pd.DataFrame, left: str, right: CrossInput) -> float:
    """How well the cells seen by one half of the users predict those seen by the other half."""
    even = rows.user_id.str[-1].astype(int) % 2 == 0
    inputs = (CrossInput(column=left), right)
    (one, count_one), (two, count_two) = (interaction_logits(rows[half], inputs) for half in (even, ~even))
    kept = (count_one >= 50) & (count_two >= 50)
    return float(np.corrcoef(one[kept], two[kept])[0, 1])


def test_an_unplanted_pair_has_no_interaction(market: Market) -> None:
    category = CrossInput(column="category")
    country = CrossInput(column="user_country")
    hour = CrossInput(column="timestamp", part="hour", boundaries=tuple(float(h) for h in range(1, 24)))
    assert split_half_correlation(market.rows, "user_segment", category) > 0.8
    assert abs(split_half_correlation(market.rows, "user_segment", country)) < 0.25
    assert abs(split_half_correlation(market.rows, "user_country", hour)) < 0.25


def test_the_multi_valued_cross_adds_over_the_interests(market: Market) -> None:
    effect = planted_effect(market.truth, "interests_x_category", market.rows)
    table = effect_table(market.truth.cross("interests_x_category"), market.truth.seed)
    levels = list(table.cross.inputs[1].levels)
    for row in (0, 777, 123_456):
        category = levels.index(market.rows.category[row])
        wanted = sum(table.values[levels.index(interest), category] for interest in market.rows.interests[row])
        assert effect[row] == pytest.approx(wanted)
    assert (effect[market.rows.interests.str.len() == 0] == 0).all()
    matches = np.array([c in i for c, i in zip(market.rows.category, market.rows.interests)])
    assert market.rows.clicked[matches].mean() > 1.3 * market.rows.clicked[~matches].mean()


@pytest.mark.parametrize("cross", PLANTED, ids=lambda cross: cross.name)
def test_no_smaller_cross_carries_a_planted_one(cross: PlantedCross) -> None:
    table = effect_table(cross, seed=3).values
    core = table[(slice(-1),) * table.ndim]
    if cross.match:
        core = core - cross.match * np.eye(len(core))
    for axis_number in range(core.ndim):
        np.testing.assert_allclose(core.mean(axis=axis_number), 0.0, atol=1e-12)
    assert core.std() == pytest.approx(cross.effect_sd)
    for axis_number in range(table.ndim):
        assert (np.take(table, -1, axis=axis_number) == 0).all()


def test_tables_of_two_columns_have_full_rank() -> None:
    for cross in PLANTED:
        if len(cross.inputs) == 2 and not cross.match:
            table = effect_table(cross, seed=0).values[:-1, :-1]
            # Removing the means of rows and columns costs one rank.
            assert np.linalg.matrix_rank(table) == min(table.shape) - 1


def test_effects_are_the_same_everywhere_golden_values() -> None:
    table = effect_table(PLANTED[0], seed=0).values
    np.testing.assert_allclose(table[0, :4], GOLDEN, rtol=1e-12)


def test_effects_of_frames_tables_and_dictionaries_agree_and_missing_counts_nothing(market: Market) -> None:
    some = market.rows.iloc[:2_000]
    table = load_rows(market.folder).slice(0, 2_000)
    for cross in market.truth.crosses:
        wanted = planted_effect(market.truth, cross.name, some)
        np.testing.assert_array_equal(planted_effect(market.truth, cross.name, table), wanted)
        columns = {axis.column: some[axis.column].to_numpy() for axis in cross.inputs}
        np.testing.assert_array_equal(planted_effect(market.truth, cross.name, columns), wanted)
    country = market.rows.user_country == ""
    assert (planted_effect(market.truth, "user_country_x_brand", market.rows)[country] == 0).all()
    unknown = market.rows.price.isna()
    assert (planted_effect(market.truth, "device_x_price_band", market.rows)[unknown] == 0).all()


def test_effects_refuse_unknown_crosses_and_missing_columns(market: Market) -> None:
    with pytest.raises(SimulationError, match="'brand_x_moon': was not planted; choose one of user_segment_x_category"):
        planted_effect(market.truth, "brand_x_moon", market.rows)
    with pytest.raises(SimulationError, match="column = 'category': is missing"):
        planted_effect(market.truth, "user_segment_x_category", market.rows[["user_segment"]])
    with pytest.raises(SimulationError, match="moon"):
        load_rows(market.folder, ["moon"])


def test_what_is_detectable_depends_on_the_number_of_rows(market: Market, tmp_path: object) -> None:
    small = simulate(SimulationConfig(rows=1_000, seed=7), f"{tmp_path}/small")
    assert {cross.order for cross in market.truth.crosses} == {2, 3, 4}
    found = {cross.name for cross in market.truth.crosses if cross.detectable}
    assert found == {cross.name for cross in market.truth.crosses if cross.order < 4}
    assert {cross.name for cross in small.crosses if cross.detectable} < found
    for cross in market.truth.crosses:
        present = np.logical_and.reduce(
            [input_codes(axis, market.rows).reshape(len(market.rows), -1).max(axis=1) >= 0 for axis in cross.inputs]
        )
        counted = market.rows.clicked == 1 if cross.target == "purchased" else np.ones(len(present), dtype=bool)
        assert cross.coverage == pytest.approx(present[counted].mean(), abs=1e-4)


def test_controls_share_no_planted_cross(market: Market) -> None:
    planted = {
        frozenset(pair)
        for cross in market.truth.crosses
        if cross.order == 2
        for pair in itertools.combinations([axis.column for axis in cross.inputs], 2)
    }
    assert not planted & {frozenset(pair) for pair in (*market.truth.controls, *market.truth.shadows)}
