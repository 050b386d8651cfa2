"""The ``window`` of a table: which of its days or spans a run reads."""

from __future__ import annotations

import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_EPOCH = datetime.date(1970, 1, 1)
DAY = 86_400
"""Seconds."""


class Window(BaseModel):
    """A rolling window that ends with the newest day or span, or one between given ends.

    Attributes:
        days: That many days of the calendar, the last one included.
        spans: That many of the newest spans that are there.
        since: First day (ISO date, UTC) or number of the first span.
        until: Last day or span, itself included; the newest if left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int | None = Field(default=None, ge=1)
    spans: int | None = Field(default=None, ge=1)
    since: int | str | None = None
    until: int | str | None = None

    @field_validator("since", "until", mode="before")
    @classmethod
    def _a_day_or_span(cls, value: Any) -> Any:
        # YAML turns an unquoted date into a date object.
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            value = value.isoformat()
        if isinstance(value, str):
            span_number(value)
        elif value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise ValueError(f"{value!r} is neither a day such as 2025-06-30 nor the number of a span. Write one.")
        return value

    @model_validator(mode="after")
    def _one_beginning(self) -> Window:
        given = {name: getattr(self, name) for name in ("days", "spans", "since") if getattr(self, name) is not None}
        if len(given) > 1:
            raise ValueError(f"{given} say two beginnings. Keep one of {', '.join(given)}.")
        if not given and self.until is None:
            raise ValueError("names neither days, spans, since nor until. Write for example {days: 30}.")
        if {type(self.since), type(self.until)} == {int, str}:
            raise ValueError(f"since {self.since!r} and until {self.until!r} are not of one kind. Write two days.")
        ends = [span_number(end) for end in (self.since, self.until) if end is not None]
        if len(ends) == 2 and ends[0] > ends[1]:
            raise ValueError(f"since {self.since!r} is later than until {self.until!r}. Swap them.")
        return self

    @property
    def counts_days(self) -> bool:
        """Whether it says anything about days, which numbered spans do not have."""
        return self.days is not None or isinstance(self.since, str) or isinstance(self.until, str)

    @property
    def counts_spans(self) -> bool:
        """Whether it says anything about numbered spans, which days do not have."""
        return isinstance(self.since, int) or isinstance(self.until, int)


def moments_of(window: Window, newest: int) -> tuple[int, int]:
    """The unix seconds that rows of a window of days lie between, the second excluded.

    Args:
        window: The window; it counts days.
        newest: Unix second of the newest row; it matters where the window has no end.

    Example:
        >>> moments_of(Window(days=2, until="1970-01-10"), 0)
        (691200, 864000)
    """
    end = newest // DAY + 1 if window.until is None else span_number(window.until) + 1
    if window.days is not None:
        return (end - window.days) * DAY, end * DAY
    return (0 if window.since is None else span_number(window.since)) * DAY, end * DAY


def span_number(end: int | str) -> int:
    """The number of a day or span; a day's is that of days since 1970-01-01, as in TFX.

    Args:
        end: ISO date, or the number of a span.

    Raises:
        ValueError: The text is no date.

    Example:
        >>> span_number("1970-01-31"), span_number(7)
        (30, 7)
    """
    if isinstance(end, int):
        return end
    try:
        return (datetime.date.fromisoformat(end) - _EPOCH).days
    except ValueError:
        raise ValueError(f"{end!r} is no day. Write an ISO date such as 2025-06-30.") from None


def day_name(number: int) -> str:
    """The ISO date of a day's number.

    Example:
        >>> day_name(30)
        '1970-01-31'
    """
    return (_EPOCH + datetime.timedelta(days=number)).isoformat()


def end_of(text: str) -> int | str:
    """A day or span as a command line gives it.

    Example:
        >>> end_of("2025-06-30"), end_of("17")
        ('2025-06-30', 17)
    """
    return int(text) if text.isdigit() else text
