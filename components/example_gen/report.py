"""The report of what was read: a small JSON file beside the examples."""

from __future__ import annotations

import posixpath

from apache_beam.io.filesystems import FileSystems
from pydantic import BaseModel, ConfigDict

from crossrec.components.example_gen.files import open_file, write_file

FILE_NAME = "ingest_report.json"
"""Name of the report in the directory of the Examples artifact."""

_NAMED = 10


class SplitReport(BaseModel):
    """One split.

    Attributes:
        rows: Number of rows.
        first: Earliest time, unix seconds; None for items.
        last: Latest time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    first: int | None = None
    last: int | None = None

    def merge(self, other: SplitReport) -> SplitReport:
        """Join two parts of a split."""
        firsts = [part.first for part in (self, other) if part.first is not None]
        lasts = [part.last for part in (self, other) if part.last is not None]
        return SplitReport(rows=self.rows + other.rows, first=min(firsts, default=None), last=max(lasts, default=None))


class WindowReport(BaseModel):
    """Which days or spans were read.

    Attributes:
        first: The first day or span of the window.
        last: The last.
        spans: How many of them the data have; None where rows were chosen by their time, not files by their path.
        missing: Those that the data do not have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: str
    last: str
    spans: int | None = None
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        """What people are told."""
        count = "" if self.spans is None else f", {self.spans:,} span{'s' if self.spans != 1 else ''}"
        few = ", ".join(self.missing[:_NAMED]) + (" …" if len(self.missing) > _NAMED else "")
        return f"{self.first} to {self.last}{count}" + (f"; {len(self.missing):,} missing: {few}" if few else "")


class IngestReport(BaseModel):
    """What was read and what became of it.

    Attributes:
        rows_read: Rows in the files.
        rows_kept: Rows in the examples.
        dropped: Condition to the number of rows that it dropped; a row counts for the first that drops it.
        users: Number of users; None for the item table.
        items: Number of items: of the catalogue, or that the interactions name.
        positives: Label to the number of rows where it is 1.
        splits: Split name to its rows and time range.
        cuts: First unix seconds of validation and test; None for the item table.
        window: Which days or spans were read; None for all of a table without any.
        files: The files that were read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows_read: int
    rows_kept: int
    dropped: dict[str, int] = {}
    users: int | None = None
    items: int
    positives: dict[str, int] = {}
    splits: dict[str, SplitReport]
    cuts: tuple[int, int] | None = None
    window: WindowReport | None = None
    files: tuple[str, ...] = ()


def write_report(report: IngestReport, uri: str) -> None:
    """Write a report.

    Args:
        report: The report.
        uri: Directory of the Examples artifact.
    """
    write_file(posixpath.join(uri, FILE_NAME), report.model_dump_json(indent=2).encode("utf-8"))


def read_report(uri: str) -> IngestReport:
    """Read the report of an ingestion.

    Args:
        uri: Directory of the Examples artifact.

    Returns:
        The report.

    Raises:
        FileNotFoundError: If there is none: the examples come from elsewhere.
    """
    path = posixpath.join(uri, FILE_NAME)
    if not FileSystems.exists(path):
        raise FileNotFoundError(f"{path} does not exist: only ItemsExampleGen and InteractionsExampleGen write it.")
    with open_file(path) as stream:
        return IngestReport.model_validate_json(stream.read())
