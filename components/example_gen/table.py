"""Which columns of a table are read, and as what."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from crossrec.components.errors import DataError
from crossrec.components.example_gen.config import (
    GradesConfig,
    InteractionsTable,
    ItemsTable,
    RawColumn,
    TableConfig,
    positive_of,
)
from crossrec.components.example_gen.filters import Filter
from crossrec.components.example_gen.reader import Wanted

Kind = Literal["id", "time", "label", "grade", "string", "float", "int", "strings", "floats"]


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the output.

    Attributes:
        name: Its name, in the file and in the examples.
        kind: What it is read as; ``id``, ``time``, ``label`` and ``grade`` may not be missing.
        field: Dotted path of the field of the spec that wants it.
        separator: What separates the values of a multi-valued text column.
        width: Numbers in a vector.
        grades: What the grades of a column mean.
        source: For a label that is not read: the column of grades that it is made of.
    """

    name: str
    kind: Kind
    field: str
    separator: str | None = None
    width: int | None = None
    grades: GradesConfig | None = None
    source: str | None = None


@dataclasses.dataclass(frozen=True)
class TablePlan:
    """How a table is read.

    Attributes:
        field: Dotted path of the table in the spec.
        key: Name of the id column that partitions the table.
        columns: The columns of the output.
        filters: Conditions on the rows.
        delimiter: What separates the columns of a CSV file.
        moments: Unix seconds that rows lie between, the second excluded; None for all rows.
    """

    field: str
    key: str
    columns: tuple[Column, ...]
    filters: tuple[Filter, ...]
    delimiter: str
    moments: tuple[int, int] | None = None

    @property
    def wanted(self) -> Wanted:
        """The columns to read, those of the filters included."""
        wanted = {column.name: column.field for column in self.columns if column.source is None}
        for index, condition in enumerate(self.filters):
            wanted.setdefault(condition.column, f"{self.field}.filters[{index}].column")
        return Wanted(self.field, wanted, self.delimiter)

    def role(self, name: str) -> str | None:
        """The column of a role such as ``timestamp``; None where the table has none."""
        return next((column.name for column in self.columns if column.field == f"{self.field}.{name}"), None)

    def of_kind(self, kind: Kind) -> list[Column]:
        """List the columns of one kind, in order."""
        return [column for column in self.columns if column.kind == kind]


def items_plan(table: ItemsTable, features: Sequence[RawColumn]) -> TablePlan:
    """Plan the reading of the item catalogue.

    Args:
        table: Its configuration.
        features: Columns that features need.

    Returns:
        The plan.

    Raises:
        DataError: If a column is asked for in two ways that exclude each other.
    """
    roles = [Column(table.item, "id", "data.items.item")]
    return _plan(table, "data.items", table.item, roles, features)


def interactions_plan(table: InteractionsTable, features: Sequence[RawColumn]) -> TablePlan:
    """Plan the reading of the interactions; arguments and result as in `items_plan`."""
    field = "data.interactions"
    roles = [
        Column(table.user, "id", f"{field}.user"),
        Column(table.item, "id", f"{field}.item"),
    ]
    if table.timestamp is not None:
        roles.append(Column(table.timestamp, "time", f"{field}.timestamp"))
    if table.request is not None:
        roles.append(Column(table.request, "string", f"{field}.request"))
    if table.position is not None:
        roles.append(Column(table.position, "int", f"{field}.position"))
    roles += [Column(label, "label", f"{field}.labels") for label in table.labels]
    for name, grades in table.grades.items():
        graded = f"{field}.grades.{name}"
        roles.append(Column(name, "grade", graded, grades=grades))
        roles.append(Column(positive_of(name), "label", f"{graded}.positive_from", grades=grades, source=name))
    return _plan(table, field, table.user, roles, features)


def _plan(table: TableConfig, field: str, key: str, roles: list[Column], features: Sequence[RawColumn]) -> TablePlan:
    columns = {column.name: column for column in roles}
    for feature in features:
        separator = table.separators.get(feature.name)
        wanted = Column(feature.name, feature.kind, f"features.{feature.name}", separator, feature.width)
        present = columns.get(feature.name)
        columns[feature.name] = wanted if present is None else _reconciled(present, wanted)
    return TablePlan(field, key, tuple(columns.values()), table.filters, table.delimiter)


def _reconciled(role: Column, feature: Column) -> Column:
    """One reading for a column that has a role and is a feature as well."""
    if role.kind in ("label", "grade"):
        raise DataError(
            role.field,
            f"column {role.name!r} is a {role.kind} and also a feature: a model would see what it must predict",
            "Take it out of the features.",
        )
    allowed = {"id": ("string",), "time": ("int",), "string": ("string",), "int": ("int", "float", "string")}
    kinds = allowed.get(role.kind, (role.kind,))
    if feature.kind not in kinds:
        raise DataError(
            feature.field,
            f"column {role.name!r} is read as {feature.kind}, but {role.field} needs it otherwise",
            f"Read it as {' or '.join(kinds)}.",
        )
    return feature if role.kind == "int" else role
