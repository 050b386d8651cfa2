from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from crossrec.pipeline.simulation import SimulationConfig, explain


@pytest.mark.parametrize(
    ("field", "value", "mend"),
    [
        ("rows", 99, "must lie between 100 and 1,000,000,000"),
        ("rows", 10**10, "must lie between"),
        ("rows", 1e5, "valid integer"),
        ("rows", True, "valid integer"),
        ("users", 3, "must lie between 10 and 2,000,000"),
        ("items", 10, "must lie between 50 and 1,000,000"),
        ("items", 60, "raise items or lower shown"),
        ("seed", -1, "must lie between 0 and"),
        ("days", 0, "must lie between 2 and"),
        ("end", 5, "give a later end"),
        ("end", 4_000_000_000, "lies in the future"),
        ("format", "xlsx", "'parquet' or 'csv'"),
        ("shown", 1, "must lie between 3 and 40"),
        ("colour", "red", "Extra inputs are not permitted"),
    ],
)
def test_wrong_parameters_are_refused_with_field_value_and_mend(field: str, value: Any, mend: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SimulationConfig(**{field: value})
    message = explain(caught.value)
    assert message.startswith(f"{field} = {value!r}: ")
    assert mend in message


def test_every_wrong_parameter_is_named_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        SimulationConfig(rows=1, seed=-5)
    assert [line.split(" = ")[0] for line in explain(caught.value).splitlines()] == ["rows", "seed"]


@pytest.mark.parametrize(
    ("rows", "users", "items"),
    [(100, 20, 500), (100_000, 2_000, 2_000), (10**7, 200_000, 20_000), (10**9, 2_000_000, 200_000)],
)
def test_population_follows_the_number_of_rows(rows: int, users: int, items: int) -> None:
    config = SimulationConfig(rows=rows)
    assert (config.user_count, config.item_count) == (users, items)


def test_configuration_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SimulationConfig().rows = 5  # type: ignore[misc]
