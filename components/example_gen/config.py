"""The ``data`` part of the spec: where the tables lie, what their columns mean, how time splits them."""

from __future__ import annotations

import datetime
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from crossrec.components.example_gen.filters import Filter
from crossrec.components.example_gen.spans import SpanPattern
from crossrec.components.example_gen.window import Window

RECENT_ITEMS = "recent_items"
"""Name of the column that holds a user's recent items."""

INTERACTION_LABEL = "interaction"
"""Name of the constant label of a table without labels: every row is a positive."""

_RESERVED = (RECENT_ITEMS, INTERACTION_LABEL)


class RawColumn(BaseModel):
    """A column that is read for the features.

    Attributes:
        name: Name of the column in the file.
        kind: ``string`` (categorical, text, id), ``float`` (numeric), ``int`` (whole numbers, and times
            as unix seconds), ``strings`` (multi-valued) or ``floats`` (a vector).
        width: Numbers in a vector.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    kind: Literal["string", "float", "int", "strings", "floats"]
    width: int | None = None

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in _RESERVED:
            raise ValueError(f"{name!r} is a column that ingestion computes itself. Rename the column of the file.")
        return name


class TableConfig(BaseModel):
    """What interactions and items have in common.

    Attributes:
        path: A file, a directory (its files, not its folders) or a glob, relative to the data directory, or a
            URL that Beam can open; with ``{date}`` or ``{span}`` a file or directory for each span of the data.
        window: Which days or spans are read; all if left out.
        format: ``csv`` or ``parquet``; by default the files' extensions say.
        delimiter: What separates the columns of a CSV file.
        item: Column of the item's id.
        separators: For text columns that hold several values: what separates them.
        filters: Conditions that a row must meet; a row that does not is dropped and counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1)
    window: Window | None = None
    format: Literal["csv", "parquet"] | None = None
    delimiter: str = ","
    item: str = Field(min_length=1)
    separators: dict[str, str] = Field(default_factory=dict)
    filters: tuple[Filter, ...] = ()

    @field_validator("path")
    @classmethod
    def _placeholders(cls, path: str) -> str:
        SpanPattern.parse(path)
        return path

    @model_validator(mode="after")
    def _window_fits_path(self) -> TableConfig:
        if self.window is None:
            return self
        pattern = SpanPattern.parse(self.path)
        if pattern is None and (self.window.spans is not None or self.window.counts_spans):
            raise ValueError(
                f"window counts spans, but path {self.path!r} has none. Write {{date}} or {{span}} into the path, or "
                "give the window days."
            )
        if pattern is not None and not pattern.dated and self.window.counts_days:
            raise ValueError(
                f"window speaks of days, but path {self.path!r} numbers its spans. Write spans, or numbers of spans."
            )
        if pattern is not None and pattern.dated and self.window.counts_spans:
            raise ValueError(f"window numbers spans, but path {self.path!r} has days. Write days such as 2025-06-30.")
        return self

    @property
    def span_pattern(self) -> SpanPattern | None:
        """The path as one with placeholders; None where it has none."""
        return SpanPattern.parse(self.path)

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str) -> str:
        if len(delimiter) != 1:
            raise ValueError(f"{delimiter!r} is not one character. Write for example ',' or ';' or '\\t'.")
        return delimiter

    @field_validator("separators")
    @classmethod
    def _not_empty(cls, separators: dict[str, str]) -> dict[str, str]:
        for column, separator in separators.items():
            if not separator:
                raise ValueError(f"the separator of {column!r} is ''. Write what separates the values, as in '|'.")
        return separators


class ItemsTable(TableConfig):
    """The item catalogue; where its path has a placeholder, the newest snapshot unless ``window`` asks for more.

    Attributes:
        duplicates: What to do with several rows for one item: refuse them, or keep the first or last in the
            order of the files.
    """

    duplicates: Literal["error", "first", "last"] = "error"

    @model_validator(mode="after")
    def _snapshots(self) -> ItemsTable:
        if self.window is not None and self.span_pattern is None:
            raise ValueError(
                f"window chooses among snapshots, but path {self.path!r} is one. Write {{date}} or {{span}} into the "
                "path, or leave window out."
            )
        return self


class InteractionsTable(TableConfig):
    """Who did what with which item, and when.

    Attributes:
        user: Column of the user's id.
        timestamp: Column of the time: unix seconds, ISO-8601 text (UTC unless it says otherwise), date or
            timestamp.
        request: Column that rows of one request or impression list share.
        position: Column of the position in that list.
        labels: Columns of 0 and 1. Without labels every row is one positive interaction.
        repeats: ``keep`` all rows, or of each user and item only the ``first`` positive one and what comes before
            it: for lists of items that a user does not have yet.
    """

    user: str = Field(min_length=1)
    timestamp: str = Field(min_length=1)
    request: str | None = None
    position: str | None = None
    labels: tuple[str, ...] = ()
    repeats: Literal["keep", "first"] = "keep"

    @model_validator(mode="after")
    def _one_role_per_column(self) -> InteractionsTable:
        roles = [("user", self.user), ("item", self.item), ("timestamp", self.timestamp)]
        roles += [(name, getattr(self, name)) for name in ("request", "position") if getattr(self, name)]
        roles += [("labels", label) for label in self.labels]
        seen: dict[str, str] = {}
        for role, column in roles:
            if column in seen:
                raise ValueError(
                    f"column {column!r} is both {seen[column]} and {role}. Give every role its own column."
                )
            if column in _RESERVED:
                raise ValueError(f"{role}: {column!r} is a column that ingestion computes itself. Rename yours.")
            seen[column] = role
        return self


class TimeSplit(BaseModel):
    """How time separates training, validation and test: by dates, by the last days, or by fractions of the rows.

    Attributes:
        validation_from: First moment of the validation data, ISO date or unix seconds; it lasts to
            ``test_from``.
        test_from: First moment of the test data.
        validation_days: Days (UTC) of the validation data, those before the test data's.
        test_days: Days of the test data: the last ones, up to the day of the last row.
        validation: Fraction of the rows.
        test: Fraction of the rows, the latest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation_from: int | str | None = None
    test_from: int | str | None = None
    validation_days: int | None = Field(default=None, ge=1)
    test_days: int | None = Field(default=None, ge=1)
    validation: float | None = None
    test: float | None = None

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
    def _one_way(self) -> TimeSplit:
        ways = [
            (self.validation_from, self.test_from),
            (self.validation_days, self.test_days),
            (self.validation, self.test),
        ]
        given = [way for way in ways if way != (None, None)]
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


class History(BaseModel):
    """The user's recent items, as they were at the time of each row.

    Attributes:
        label: The label that makes a row part of the history; not needed where there is none or only one.
        max_length: How many items are kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str | None = None
    max_length: int = Field(default=20, ge=1, le=1000)


class DataConfig(BaseModel):
    """The ``data`` part of the spec.

    Attributes:
        interactions: The table of interactions.
        items: The item catalogue.
        split: How time separates training, validation and test.
        history: The user's recent items; None for none.
        unknown_items: What to do with interactions whose item is not in the catalogue.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    interactions: InteractionsTable
    items: ItemsTable
    split: TimeSplit
    history: History | None = None
    unknown_items: Literal["error", "drop"] = "error"

    @model_validator(mode="after")
    def _history_label(self) -> DataConfig:
        if self.history is None:
            return self
        label, labels = self.history.label, self.interactions.labels
        if label is not None and label not in labels:
            raise ValueError(
                f"history.label: {label!r} is not one of data.interactions.labels {list(labels)}. "
                + ("Name one of these." if labels else "Leave history.label out: every row is a positive.")
            )
        if label is None and len(labels) > 1:
            raise ValueError(
                f"history.label: missing, and there are several labels {list(labels)}. "
                "Name the one that makes a row part of the history."
            )
        return self

    @property
    def history_label(self) -> str | None:
        """The label that makes a row part of the history; None where every row is."""
        if self.history is not None and self.history.label is not None:
            return self.history.label
        return self.interactions.labels[0] if self.interactions.labels else None


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
