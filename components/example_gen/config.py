"""The ``data`` part of the spec: where the tables lie, what their columns mean, how they are split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from crossrec.components.example_gen.filters import Filter
from crossrec.components.example_gen.spans import SpanPattern
from crossrec.components.example_gen.split import SplitConfig
from crossrec.components.example_gen.window import Window

RECENT_ITEMS = "recent_items"
"""Name of the column that holds a user's recent items."""

INTERACTION_LABEL = "interaction"
"""Name of the constant label of a table without labels: every row is a positive."""

NO_TIME = "no_time"
"""Name of the constant time, 0, of a table without times."""

_RESERVED = (RECENT_ITEMS, INTERACTION_LABEL, NO_TIME)


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
        format: ``csv``, ``parquet`` or ``jsonl`` (an object per line); by default the files' extensions say.
        delimiter: What separates the columns of a CSV file.
        item: Column of the item's id.
        separators: For text columns that hold several values: what separates them.
        filters: Conditions that a row must meet; a row that does not is dropped and counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1)
    window: Window | None = None
    format: Literal["csv", "parquet", "jsonl"] | None = None
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


class GradesConfig(BaseModel):
    """A column of whole grades, from 0 for useless: what a judge says of an item as an answer to a query.

    Attributes:
        max_grade: The best grade.
        positive_from: The grade from which an item counts as wanted: where only yes or no is known, as in retrieval and
            in the lists of the evaluation, the label ``<column>_positive`` says whether a grade is at least that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The gain of grade g is 2^g - 1: beyond these it would no longer be exact.
    max_grade: int = Field(ge=1, le=20)
    positive_from: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _can_be_reached(self) -> GradesConfig:
        if self.positive_from > self.max_grade:
            raise ValueError(
                f"positive_from {self.positive_from} is above max_grade {self.max_grade}, so nothing would be a "
                "positive. Lower it"
            )
        return self


class InteractionsTable(TableConfig):
    """Who did what with which item, and when; or which grade an item has as an answer to a query.

    Attributes:
        user: Column of the user's id. Where rows are judgments and no one's doing, the column of the query.
        timestamp: Column of the time: unix seconds, ISO-8601 text (UTC unless it says otherwise), date or
            timestamp. Without it all rows are of one moment, and ids split them.
        request: Column that rows of one request or impression list share; they are of one user.
        position: Column of the position in that list.
        labels: Columns of 0 and 1. Without labels and grades every row is one positive interaction.
        grades: Columns of grades, with what the grades mean.
        repeats: ``keep`` all rows, or of each user and item only the ``first`` positive one and what comes before
            it: for lists of items that a user does not have yet.
    """

    user: str = Field(min_length=1)
    timestamp: str | None = Field(default=None, min_length=1)
    request: str | None = None
    position: str | None = None
    labels: tuple[str, ...] = ()
    grades: Mapping[str, GradesConfig] = Field(default_factory=dict)
    repeats: Literal["keep", "first"] = "keep"

    @model_validator(mode="after")
    def _one_role_per_column(self) -> InteractionsTable:
        roles = [("user", self.user), ("item", self.item)]
        roles += [(name, getattr(self, name)) for name in ("timestamp", "request", "position") if getattr(self, name)]
        roles += [("labels", label) for label in self.labels]
        roles += [("grades", column) for column in self.grades]
        roles += [(f"grades.{column}", positive_of(column)) for column in self.grades]
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

    @model_validator(mode="after")
    def _times_where_they_matter(self) -> InteractionsTable:
        if self.timestamp is None and self.repeats == "first":
            raise ValueError("repeats: first needs to know which row came first. Name the timestamp, or leave it out.")
        if self.timestamp is None and self.window is not None and self.span_pattern is None:
            raise ValueError("window chooses rows by their time. Name the timestamp, or leave window out.")
        return self

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The labels of 0 and 1 of the examples, those that say whether a grade is good enough included."""
        return (*self.labels, *(positive_of(column) for column in self.grades)) or (INTERACTION_LABEL,)

    @property
    def time_column(self) -> str:
        """The column of the examples that holds the time."""
        return self.timestamp or NO_TIME


def positive_of(column: str) -> str:
    """The label that says whether a column's grade is good enough to make its row a positive.

    Example:
        >>> positive_of("rating")
        'rating_positive'
    """
    return f"{column}_positive"


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
        split: How time, or a hash of ids, separates training, validation and test.
        history: The user's recent items; None for none.
        unknown_items: What to do with interactions whose item is not in the catalogue.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    interactions: InteractionsTable
    items: ItemsTable
    split: SplitConfig
    history: History | None = None
    unknown_items: Literal["error", "drop"] = "error"

    @model_validator(mode="after")
    def _split_by_what_there_is(self) -> DataConfig:
        table = self.interactions
        if self.split.by == "time" and table.timestamp is None:
            raise ValueError(
                "split: by time, but interactions.timestamp is not named. Name it, or write {by: user, "
                "validation: 0.1, test: 0.2}."
            )
        if self.split.by == "request" and table.request is None:
            raise ValueError("split: by request, but interactions.request is not named. Name it, or write by: user.")
        if self.history is not None and table.timestamp is None:
            raise ValueError("history: what is recent, times tell. Name interactions.timestamp, or leave history out.")
        return self

    @model_validator(mode="after")
    def _history_label(self) -> DataConfig:
        if self.history is None:
            return self
        label, labels = self.history.label, self._known_labels
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
        return self._known_labels[0] if self._known_labels else None

    @property
    def _known_labels(self) -> tuple[str, ...]:
        return tuple(label for label in self.interactions.all_labels if label != INTERACTION_LABEL)
