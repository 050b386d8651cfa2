"""The exception that tells a user what is wrong with the data, where, and how to mend it."""

from __future__ import annotations


class DataError(ValueError):
    """Bad input data or configuration, put in the user's words.

    Example:
        >>> print(DataError("data.items.item", "column 'id' is not in items.csv", "Name a column."))
        data.items.item: column 'id' is not in items.csv. Name a column.
    """

    def __init__(self, field: str, problem: str, mend: str, further: tuple[str, ...] = ()) -> None:
        """Build the error.

        Args:
            field: Dotted path of the configuration field, for example ``data.items.item``.
            problem: What is wrong, with the offending value; no full stop at the end.
            mend: What to do about it; a full sentence.
            further: Complete messages of other problems found in the same run.
        """
        # All four go to Exception.args: the error must survive pickling between Beam workers.
        super().__init__(field, problem, mend, further)
        self.field = field
        self.problem = problem
        self.mend = mend
        self.further = further

    def __str__(self) -> str:
        return "\n".join((f"{self.field}: {self.problem}. {self.mend}", *self.further))
