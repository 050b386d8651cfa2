"""Windows from a command line, and windows whose end is settled before a pipeline is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from crossrec.components.errors import DataError
from crossrec.components.example_gen.config import DataConfig, ItemsTable
from crossrec.components.example_gen.files import span_range
from crossrec.components.example_gen.window import Window, end_of

_BEGINNINGS = ("days", "spans", "since")


def with_window(
    config: DataConfig, since: str | None = None, until: str | None = None, days: int | None = None
) -> DataConfig:
    """The configuration with another beginning or end of its window.

    Args:
        config: The ``data`` part of the spec.
        since: First day or span; it replaces the length of the spec's window.
        until: Last day or span; also the last snapshot of the catalogue, where it has any.
        days: Length of the window; it replaces that of the spec.

    Raises:
        DataError: They are no days or spans, or do not fit the paths.
    """
    if since is None and until is None and days is None:
        return config
    given = config.interactions.window
    window: dict[str, Any] = {} if given is None else given.model_dump(exclude_none=True)
    if since is not None or days is not None:
        window = {name: value for name, value in window.items() if name not in _BEGINNINGS}
    ends = {"since": since and end_of(since), "until": until and end_of(until), "days": days}
    window |= {name: value for name, value in ends.items() if value is not None}
    content = config.model_dump()
    content["interactions"]["window"] = window
    try:
        changed = DataConfig.model_validate(content)
    except ValidationError as error:
        raise _not_a_window(error, {"--since": since, "--until": until, "days": days}) from error
    return changed if until is None else changed.model_copy(update={"items": catalogue_until(changed.items, until)})


def catalogue_until(table: ItemsTable, until: str) -> ItemsTable:
    """The catalogue with another end of its window, if its snapshots are of that kind: days, or numbered spans.

    Args:
        table: The ``data.items`` part of the spec.
        until: Last day or span.

    Raises:
        DataError: It is no day or span, or does not fit the window.
    """
    pattern, end = table.span_pattern, end_of(until)
    if pattern is None or pattern.dated != isinstance(end, str):
        return table
    content = table.model_dump()
    content["window"] = {**(content["window"] or {}), "until": end}
    try:
        return ItemsTable.model_validate(content)
    except ValidationError as error:
        raise _not_a_window(error, {"--until": until}) from error


def _not_a_window(error: ValidationError, options: Mapping[str, Any]) -> DataError:
    said = str(error.errors()[0].get("ctx", {}).get("error", error.errors()[0]["msg"]))
    field = ", ".join(f"{name} {value}" for name, value in options.items() if value is not None)
    return DataError(field, said.rstrip("."), "Give days as 2025-06-30, or numbers of spans.")


def pinned(config: DataConfig, data_dir: str) -> DataConfig:
    """The configuration with the ends that rolling windows have now.

    A run whose windows are pinned reads the same files from its first node to its last, whatever arrives meanwhile,
    and its parameters show which.

    Args:
        config: The ``data`` part of the spec.
        data_dir: The directory that relative paths start from.

    Raises:
        DataError: Nothing lies in a window.
    """
    changes: dict[str, Any] = {}
    for name, table in (("interactions", config.interactions), ("items", config.items)):
        window = table.window
        if window is None and isinstance(table, ItemsTable) and table.span_pattern is not None:
            window = Window(spans=1)
        spans = span_range(table, data_dir, f"data.{name}") if window is not None else None
        if window is not None and spans is not None:
            dated = table.span_pattern is not None and table.span_pattern.dated
            last = spans.last if dated else int(spans.last)
            update = {**window.model_dump(exclude_none=True), "until": last}
            changes[name] = table.model_copy(update={"window": Window.model_validate(update)})
    return config.model_copy(update=changes) if changes else config
