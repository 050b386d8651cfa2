"""What a backfill did: one entry for each date, in a file that outlives the process."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from crossrec.components.features.frozen import Frozen
from crossrec.pipeline.spec.spec import Spec

FILE = "backfill.json"


class Entry(Frozen):
    """One date.

    Attributes:
        until: The last day or span that was read.
        key: Digest of all that decides what the run gives: spec, data, whether it publishes.
        blessed: Whether the evaluation's thresholds are met.
        version: Of the release; None where nothing was published.
        seconds: How long the run took.
        rows: Interactions of each split.
        warm_start: What the retrieval model took over from an earlier release; "" for a cold start without one.
        metrics: What the evaluation measured.
    """

    until: str
    key: str
    blessed: bool
    version: int | None
    seconds: float
    rows: Mapping[str, int]
    warm_start: str = ""
    metrics: Mapping[str, float]


def dates(first: str, last: str, every: int) -> Iterator[str]:
    """The days, or numbers of spans, of a backfill.

    Args:
        first: The first, a day such as 2025-06-01 or the number of a span.
        last: None is later than this one.
        every: Steps between them.

    Raises:
        ValueError: They are no days or numbers, of different kinds, or in the wrong order.

    Example:
        >>> list(dates("2025-06-28", "2025-07-02", 2))
        ['2025-06-28', '2025-06-30', '2025-07-02']
    """
    name: Callable[[int], str] = str
    if first.isdigit() and last.isdigit():
        start, end = int(first), int(last)
    else:
        start, end, name = _ordinal(first), _ordinal(last), _day
    if start > end:
        raise ValueError(f"--from {first} is later than --to {last}. Swap them")
    yield from (name(number) for number in range(start, end + 1, every))


def _ordinal(text: str) -> int:
    try:
        return datetime.date.fromisoformat(text).toordinal()
    except ValueError:
        raise ValueError(
            f"{text!r} is no day. Give --from and --to as days such as 2025-06-30, or both as numbers of spans"
        ) from None


def _day(ordinal: int) -> str:
    return datetime.date.fromordinal(ordinal).isoformat()


def key_of(spec: Spec, fingerprint: str, publish: bool) -> str:
    """The digest that tells whether a finished date would give the same again.

    Args:
        spec: The spec with the window of the date.
        fingerprint: Of the data in that window.
        publish: Whether the run publishes.
    """
    content = "\n".join([spec.model_dump_json(), fingerprint, str(publish)])
    return hashlib.sha256(content.encode("utf-8")).hexdigest()[:16]


def read_entries(path: Path) -> list[Entry]:
    """The entries of a file, in the order in which they were made; none if it is not there.

    Raises:
        ValueError: The file is something else.
    """
    if not path.exists():
        return []
    try:
        return [Entry.model_validate(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (ValidationError, json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path}: holds no results of a backfill ({type(error).__name__}). Move it away") from error


def write_entries(path: Path, entries: Sequence[Entry]) -> None:
    """Writes the entries; the file is whole at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    content = json.dumps([entry.model_dump(mode="json") for entry in entries], indent=1)
    temporary.write_text(f"{content}\n", encoding="utf-8")
    os.replace(temporary, path)


def table(entries: Sequence[Entry]) -> str:
    """The dates and their figures, as lines."""
    if not entries:
        return "no date is finished"
    names = _shown(entries[-1].metrics)
    heads = [_head(name) for name in names]
    widths = [max(len(head), 8) for head in heads]
    lines = [
        f"{'until':<12}{'rows':>12}  "
        + "  ".join(f"{head:>{width}}" for head, width in zip(heads, widths))
        + "  blessed  version  seconds"
    ]
    for entry in entries:
        values = [entry.metrics.get(name) for name in names]
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        version = "" if entry.version is None else str(entry.version)
        lines.append(
            f"{entry.until:<12}{sum(entry.rows.values()):>12,}  "
            + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths))
            + f"  {'yes' if entry.blessed else 'no':>7}  {version:>7}  {entry.seconds:>7.0f}"
        )
    return "\n".join(lines)


def _shown(metrics: Mapping[str, float]) -> list[str]:
    """What tells dates apart, few enough for a terminal: the shortest lists, and all candidates of retrieval."""
    depths = sorted({int(depth) for name in metrics for _, at, depth in [name.rpartition("@")] if at})
    wanted, least = [], 0
    if depths:
        least, most = depths[0], depths[-1]
        wanted = [f"end_to_end/recall@{least}", f"end_to_end/ndcg@{least}", f"popularity/ndcg@{least}"]
        wanted.append(f"retrieval/recall@{most}")
    ranking = [name for name in metrics if name.startswith("ranking/") and name.endswith(("/auc", f"/ndcg@{least}"))]
    return [name for name in wanted if name in metrics] + ranking


def _head(name: str) -> str:
    """A metric's name in a narrow column."""
    source, _, metric = name.partition("/")
    return metric if source == "end_to_end" else name.replace("ranking/", "")
