"""The ``data.split`` part of the spec: what separates training, validation and test."""

from __future__ import annotations

import datetime
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class SplitConfig(BaseModel):
    """What separates training, validation and test.

    Time does by dates, by the last days, or by fractions of the rows. Without it a hash of ids does: all rows of one
    user (or query, or request) are on one side, always the same, whatever other rows there are.

    Attributes:
        by: ``time``, or whose rows stay together: those of a ``user``, which is what ``interactions.user`` names, or of
            a ``request``; a row without a request goes with its user.
        validation_from: First moment of the validation data, ISO date or unix seconds; it lasts to
            ``test_from``.
        test_from: First moment of the test data.
        validation_days: Days (UTC) of the validation data, those before the test data's.
        test_days: Days of the test data: the last ones, up to the day of the last row.
        validation: Fraction of the rows, or of the ids.
        test: Fraction of the rows, the latest, or of the ids.
        seed: Another number gives another hash of the ids.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Literal["time", "user", "request"] = "time"
    validation_from: int | str | None = None
    test_from: int | str | None = None
    validation_days: int | None = Field(default=None, ge=1)
    test_days: int | None = Field(default=None, ge=1)
    validation: float | None = None
    test: float | None = None
    seed: int = 0

    @field_validator("validation_from", "test_from", mode="before")
    @classmethod
    def _a_moment(cls, value: Any) -> Any:
        # YAML turns an unquoted date into a date object.
        if isinstance(value, (datetime.date, datetime.datetime)):
            value = value.isoformat()
        if isinstance(value, str):
            unix_seconds(value)
        if isinstance(value, bool) or isinstance(value, int) and value <= 0:
            raise ValueError(f"{value!r} is not a moment. Write an ISO date such as 2011-10-25, or unix seconds.")
        return value

    @field_validator("validation", "test")
    @classmethod
    def _a_fraction(cls, value: float | None) -> float | None:
        if value is not None and not 0.0 < value < 1.0:
            raise ValueError(f"{value} is not a fraction of the rows. Write a number between 0 and 1, as in 0.1.")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> SplitConfig:
        ways = [
            (self.validation_from, self.test_from),
            (self.validation_days, self.test_days),
            (self.validation, self.test),
        ]
        given = [way for way in ways if way != (None, None)]
        if self.by != "time" and given != [ways[2]]:
            raise ValueError(
                f"by {self.by} goes with fractions of the ids. Write {{by: {self.by}, validation: 0.1, test: 0.2}}."
            )
        if self.by == "time" and self.seed:
            raise ValueError(f"seed {self.seed} is of a hash of ids, but time splits. Leave it out, or write by: user.")
        if len(given) != 1 or None in given[0]:
            raise ValueError(
                f"{self.model_dump(exclude_none=True)} is not a split. Give either validation_from and "
                "test_from, or validation_days and test_days, or the fractions validation and test."
            )
        if (self.validation or 0.0) + (self.test or 0.0) >= 1.0:
            raise ValueError(
                f"validation {self.validation} and test {self.test} leave nothing to train on. "
                "Give fractions that sum to less than 1."
            )
        cuts = self.cuts
        if cuts is not None and cuts[0] >= cuts[1]:
            raise ValueError(
                f"validation_from {self.validation_from!r} is not before test_from {self.test_from!r}. Swap them."
            )
        return self

    @property
    def cuts(self) -> tuple[int, int] | None:
        """First unix second of validation and of test; None where days or fractions say."""
        if self.validation_from is None or self.test_from is None:
            return None
        return unix_seconds(self.validation_from), unix_seconds(self.test_from)


def unix_seconds(moment: int | str) -> int:
    """Turn an ISO date or time (UTC unless it names another zone) or unix seconds into unix seconds.

    Args:
        moment: For example ``"2011-10-25"``, ``"2011-10-25T06:00:00+02:00"`` or ``1319500800``.

    Returns:
        Whole unix seconds.

    Raises:
        ValueError: If the text is not such a moment.

    Example:
        >>> unix_seconds("2011-10-25")
        1319500800
    """
    if isinstance(moment, int):
        return moment
    if re.fullmatch(r"\d+", moment):
        return int(moment)
    try:
        parsed = datetime.datetime.fromisoformat(moment.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(
            f"{moment!r} is not a moment. Write an ISO date such as 2011-10-25, or unix seconds."
        ) from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=datetime.timezone.utc)
    return int(parsed.timestamp())
