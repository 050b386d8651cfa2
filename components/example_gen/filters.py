"""Conditions on the rows of a table, evaluated on whole Arrow batches."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, Union

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossrec.components.example_gen import casts

Scalar = Union[bool, int, float, str]

_ORDER: dict[str, Callable[..., pa.Array]] = {
    "greater": pc.greater,
    "greater_equal": pc.greater_equal,
    "less": pc.less,
    "less_equal": pc.less_equal,
}
_NEGATED = {"not_equals": "equals", "not_in": "in", "not_matches": "matches"}


class Filter(BaseModel):
    """One condition that a row must meet.

    A missing value meets ``not_equals``, ``not_in`` and ``not_matches`` and no other condition. Text in
    ``greater`` and its kin is a moment (ISO-8601), and the column is then read as a time.

    Attributes:
        column: Name of the column.
        op: The comparison.
        value: What to compare with: a list for ``in`` and ``not_in``, a regular expression (RE2, found
            anywhere in the text) for ``matches`` and ``not_matches``, nothing for ``present``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str = Field(min_length=1)
    op: Literal[
        "equals",
        "not_equals",
        "in",
        "not_in",
        "greater",
        "greater_equal",
        "less",
        "less_equal",
        "matches",
        "not_matches",
        "present",
    ]
    value: Scalar | tuple[Scalar, ...] | None = None

    @model_validator(mode="after")
    def _value_fits(self) -> Filter:
        mend = None
        if self.op == "present":
            mend = "Leave value out" if self.value is not None else None
        elif self.op in ("in", "not_in"):
            if not isinstance(self.value, tuple) or not self.value:
                mend = "Give a list of values"
            elif len({isinstance(value, str) for value in self.value}) > 1:
                mend = "Write either only text or only numbers"
        elif self.value is None or isinstance(self.value, tuple):
            mend = "Give one value"
        elif self.op in ("matches", "not_matches"):
            mend = _pattern_mend(self.value)
        elif self.op in _ORDER and isinstance(self.value, str):
            try:
                casts.to_seconds(pa.array([self.value]))
            except casts.CastError:
                mend = "Give a number or an ISO date"
        if mend is not None:
            raise ValueError(f"value {self.value!r} does not suit op {self.op!r} on column {self.column!r}. {mend}.")
        return self

    def describe(self) -> str:
        """Describe the condition in one line, as the report names it."""
        return f"{self.column} {self.op}" + ("" if self.value is None else f" {self.value}")

    def mask(self, column: pa.Array) -> pa.Array:
        """Say which rows meet the condition.

        Args:
            column: The raw column as it was read, [rows].

        Returns:
            Boolean array [rows] without nulls.

        Raises:
            casts.CastError: If the column holds something that cannot be compared with the value.
        """
        if self.op == "present":
            return _present(column)
        op = _NEGATED.get(self.op, self.op)
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        if op == "matches":
            met = pc.match_substring_regex(casts.to_text(column), str(self.value))
        elif op in _ORDER and isinstance(self.value, str):
            moment = casts.to_seconds(pa.array([self.value]))[0]
            met = _ORDER[op](casts.to_seconds(column), moment)
        elif isinstance(values[0], str):
            met = pc.is_in(casts.to_text(column), value_set=pa.array(values, pa.string()))
        elif op in _ORDER:
            met = _ORDER[op](casts.to_floats(column), pa.scalar(float(values[0] or 0), pa.float64()))
        else:
            met = pc.is_in(casts.to_floats(column), value_set=pa.array([float(v or 0) for v in values]))
        met = pc.fill_null(met, False)
        return pc.invert(met) if self.op in _NEGATED else met


def _pattern_mend(value: Scalar) -> str | None:
    if not isinstance(value, str):
        return "Give a regular expression as text"
    try:
        re.compile(value)
        pc.match_substring_regex(pa.array([""]), value)
    except (re.error, pa.ArrowInvalid) as error:
        return f"Write a regular expression that RE2 knows ({str(error).splitlines()[0]})"
    return None


def _present(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return pc.fill_null(pc.greater(pc.list_value_length(column), 0), False)
    return pc.is_valid(casts.to_text(column))
