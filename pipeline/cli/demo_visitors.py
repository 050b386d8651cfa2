"""Three visitors of a simulated marketplace: one who searches, one who browses, one who is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

_CONTEXT = ("user_id", "user_segment", "user_country", "interests", "device", "timestamp")
_RECENT_ITEMS = 5
_TITLES = 2
_NEWCOMER = "newcomer"


@dataclass(frozen=True)
class Visitor:
    """Somebody who asks for recommendations.

    Attributes:
        story: Who that is, in a line or two.
        inputs: What is sent, by name of the model's input.
    """

    story: str
    inputs: Mapping[str, Any]


def choose_visitors(data: Path) -> tuple[Visitor, ...]:
    """Takes visitors from the latest requests of a simulation.

    Args:
        data: Folder of the simulation, in Parquet.

    Returns:
        A user who searches, a user who browses and clicked on something before, and somebody unknown who searches.
    """
    rows = _latest_rows(data)
    requests = {row["request_id"]: row for row in rows}
    latest = sorted(requests.values(), key=lambda row: (row["timestamp"], row["request_id"]), reverse=True)
    searches = [row for row in latest if row["query"]]
    clicks = _clicks(rows)
    browsing = [row for row in latest if not row["query"] and _before(row, clicks)]
    first = searches[0]
    other = next((row for row in searches if row["query"] != first["query"]), first)
    return (_searching(first), _browsing(browsing[0], clicks, data), _newcomer(other))


def _latest_rows(data: Path) -> list[dict[str, Any]]:
    """The last row group: enough for three requests, however large the simulation is."""
    last = pq.ParquetFile(max((data / "interactions").glob("*.parquet")))
    rows: list[dict[str, Any]] = last.read_row_group(last.num_row_groups - 1).to_pylist()
    return rows


def _clicks(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, str]]]:
    """User to (time, item) of every click, the latest first."""
    clicks: dict[str, list[tuple[int, str]]] = {}
    for row in rows:
        if row["clicked"]:
            clicks.setdefault(row["user_id"], []).append((row["timestamp"], row["item_id"]))
    return {user: sorted(items, key=lambda click: -click[0]) for user, items in clicks.items()}


def _before(row: Mapping[str, Any], clicks: Mapping[str, list[tuple[int, str]]]) -> list[str]:
    earlier = [item for time, item in clicks.get(row["user_id"], []) if time < row["timestamp"]]
    return list(dict.fromkeys(earlier))[:_RECENT_ITEMS]


def _context(row: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: row[name] for name in _CONTEXT if row[name]}
    # Without a limit the simulation writes NaN, which is what a request that leaves it out means as well.
    return {**known, "price_max": row["price_max"]} if row["price_max"] and row["price_max"] > 0 else known


def _person(row: Mapping[str, Any]) -> str:
    interests = ", ".join(row["interests"]) or "unknown"
    return f"{row['user_id']} ({row['user_segment']}, {row['user_country']}, {row['device']}; interests: {interests})"


def _searching(row: Mapping[str, Any]) -> Visitor:
    return Visitor(f"{_person(row)} searches for '{row['query']}'", {**_context(row), "query": row["query"]})


def _browsing(row: Mapping[str, Any], clicks: Mapping[str, list[tuple[int, str]]], data: Path) -> Visitor:
    recent = _before(row, clicks)
    seen = "; ".join(f"'{title}'" for title in _titles(data, recent[:_TITLES]))
    return Visitor(f"{_person(row)} browses\nafter clicks on {seen}", {**_context(row), "recent_items": recent})


def _titles(data: Path, items: Sequence[str]) -> list[str]:
    table = pq.read_table(
        data / "items.parquet", columns=["item_id", "title"], filters=[("item_id", "in", list(items))]
    )
    titles = dict(zip(table["item_id"].to_pylist(), table["title"].to_pylist()))
    return [titles[item] for item in items]


def _newcomer(row: Mapping[str, Any]) -> Visitor:
    return Visitor(
        f"Somebody of whom nothing is known searches for '{row['query']}'",
        {"user_id": _NEWCOMER, "query": row["query"]},
    )
