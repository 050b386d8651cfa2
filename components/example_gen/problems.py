"""What is wrong with the data, in a form that workers can count and merge."""

from __future__ import annotations

import string
from typing import NamedTuple

from crossrec.components.errors import DataError

_EXAMPLES = 5


class Place(NamedTuple):
    """A row of a file; earlier rows of earlier files compare less.

    Attributes:
        file_index: The file's place in its table.
        row: The row, from 0, without the header.
        name: The file's name.
    """

    file_index: int
    row: int
    name: str

    def __str__(self) -> str:
        return f"row {self.row + 1} of {self.name}"


class Problem(NamedTuple):
    """Something wrong, found in some rows.

    Attributes:
        field: Dotted path of the field of the spec that names the data.
        text: What is wrong; ``$rows``, ``$first``, ``$examples`` and ``$worst`` stand for what is known when
            all rows have been read.
        mend: What to do about it.
        rows: In how many rows.
        first: The first of them.
        examples: A few of the values.
        worst: The largest of the values, for problems of size.
    """

    field: str
    text: str
    mend: str
    rows: int = 1
    first: Place | None = None
    examples: tuple[str, ...] = ()
    worst: float = 0.0

    def merge(self, other: Problem) -> Problem:
        """Join what two workers found; the order does not matter."""
        worse = max(self, other, key=lambda problem: (problem.worst, problem.mend))
        firsts = [problem.first for problem in (self, other) if problem.first is not None]
        return self._replace(
            mend=worse.mend,
            rows=self.rows + other.rows,
            first=min(firsts, default=None),
            examples=tuple(sorted({*self.examples, *other.examples})[:_EXAMPLES]),
            worst=worse.worst,
        )

    def error(self) -> DataError:
        """Tell the problem as the user sees it."""
        rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        values = {
            "rows": rows,
            "first": str(self.first),
            "examples": ", ".join(repr(example) for example in self.examples),
            "worst": f"{self.worst:.0f}",
        }
        return DataError(self.field, string.Template(self.text).safe_substitute(values), self.mend)


def plain(value: object) -> str:
    """Quote a value that goes into a problem's text as it is.

    Example:
        >>> plain("price in $")
        "'price in $$'"
    """
    return repr(value).replace("$", "$$")


def join_errors(errors: list[DataError]) -> DataError:
    """One error that tells of all.

    Args:
        errors: At least one error, the most important first.

    Returns:
        The first error, with the messages of the others.
    """
    first, *others = errors
    further = tuple(dict.fromkeys(str(error) for error in others if str(error) != str(first)))
    return DataError(first.field, first.problem, first.mend, first.further + further)
