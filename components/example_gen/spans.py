"""Paths with a place for the day or the number of a span, and which spans a window takes.

The placeholders are those of TFX's file-based ExampleGen (``{SPAN}``; ``{YYYY}``, ``{MM}`` and ``{DD}``), and for
short ``{span}``, and ``{date}`` for ``{YYYY}-{MM}-{DD}``.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Iterable

from crossrec.components.errors import DataError
from crossrec.components.example_gen.window import Window, day_name, span_number

_SHORT = {"{date}": "{YYYY}-{MM}-{DD}", "{span}": "{SPAN}"}
_PARTS = {
    "{SPAN}": r"(?P<span>[0-9]+)",
    "{YYYY}": r"(?P<year>[0-9]{4})",
    "{MM}": r"(?P<month>[0-9]{2})",
    "{DD}": r"(?P<day>[0-9]{2})",
}
_DATE = ("{YYYY}", "{MM}", "{DD}")
_KNOWN = "{date}, {span}, {SPAN}, {YYYY}, {MM} and {DD}"
_SIGNS = {"*": r"[^/\\]*", "?": r"[^/\\]"}
_MOST_NUMBERS = 100_000


@dataclasses.dataclass(frozen=True)
class SpanPattern:
    """A path with placeholders.

    Attributes:
        glob: The pattern that finds its files, or folders of files.
        expression: Finds the numbers in a path.
        dated: Whether spans are days.
    """

    glob: str
    expression: str
    dated: bool

    @classmethod
    def parse(cls, path: str) -> SpanPattern | None:
        """Reads a path.

        Returns:
            The pattern; None where the path has no placeholder.

        Raises:
            ValueError: A placeholder is unknown, missing or there twice.
        """
        found = re.findall(r"\{[^{}]*\}", path)
        if not found:
            return None
        for placeholder in found:
            if placeholder not in _SHORT and placeholder not in _PARTS:
                raise ValueError(f"{placeholder} in {path!r} is no placeholder. Known: {_KNOWN}.")
        for short, long in _SHORT.items():
            path = path.replace(short, long)
        found = re.findall(r"\{[A-Z]+\}", path)
        if sorted(found) not in (["{SPAN}"], sorted(_DATE)):
            raise ValueError(
                f"{path!r} must say which span it is once: with {{date}}, with {{YYYY}}, {{MM}} and {{DD}}, or with "
                "{span}."
            )
        parts = re.split(r"(\{[A-Z]+\}|[*?])", path)
        expression = "".join(_PARTS.get(part) or _SIGNS.get(part) or re.escape(part) for part in parts)
        glob = re.sub(r"\{[A-Z]+\}", "*", path)
        return cls(glob, expression, found != ["{SPAN}"])

    def span_of(self, path: str) -> int | None:
        """The number of the span that a file belongs to.

        Args:
            path: As the pattern writes it: relative to the data directory, or whole.

        Returns:
            The number; None where the file belongs to none.
        """
        match = re.fullmatch(rf"{self.expression}(/[^/\\]+)?", path)
        if match is None:
            return None
        if not self.dated:
            return int(match["span"])
        try:
            day = datetime.date(int(match["year"]), int(match["month"]), int(match["day"]))
        except ValueError:
            return None
        return span_number(day.isoformat())

    def name(self, span: int) -> str:
        """How people call a span: its date, or its number."""
        return day_name(span) if self.dated else str(span)


@dataclasses.dataclass(frozen=True)
class SpanRange:
    """The spans that are read.

    Attributes:
        first: Name of the first.
        last: Name of the last.
        numbers: Those that are there, ascending.
        missing: Names of those between the ends that are not.
    """

    first: str
    last: str
    numbers: tuple[int, ...]
    missing: tuple[str, ...]


def choose(present: Iterable[int], window: Window | None, pattern: SpanPattern, field: str) -> SpanRange:
    """Which spans a window takes of those that are there.

    Args:
        present: Their numbers, at least one.
        window: The window; all of them if None.
        pattern: Names them.
        field: Dotted path of the table in the spec, for messages.

    Raises:
        DataError: None lies in the window.
    """
    there = sorted(set(present))
    first, last = there[0], there[-1]
    named_gaps = window is None or window.spans is None or not pattern.dated
    if window is not None:
        if window.until is not None:
            last = span_number(window.until)
        if window.spans is not None:
            taken = [span for span in there if span <= last][-window.spans :] or [last]
            first, last = taken[0], taken[-1]
        elif window.days is not None:
            first = last - window.days + 1
        elif window.since is not None:
            first = span_number(window.since)
    taken = [span for span in there if first <= span <= last]
    if not taken:
        raise DataError(
            f"{field}.window",
            f"there is nothing from {pattern.name(first)} to {pattern.name(last)}; there are {len(there):,} spans, "
            f"{pattern.name(there[0])} to {pattern.name(there[-1])}",
            "Name days or spans among these, with --since and --until or in the window.",
        )
    known = set(taken)
    gaps = range(first, last + 1) if named_gaps and last - first < _MOST_NUMBERS else ()
    missing = tuple(pattern.name(span) for span in gaps if span not in known)
    return SpanRange(pattern.name(first), pattern.name(last), tuple(taken), missing)
