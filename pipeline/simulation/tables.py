"""The files' columns: from codes and numbers to Arrow tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from . import vocabulary
from .catalogue import Catalogue
from .clicks import Behaviour
from .policy import Impressions
from .queries import Queries, title_texts
from .sessions import RequestArray
from .users import Users

INTERACTIONS_SCHEMA = pa.schema(
    [
        ("request_id", pa.string()),
        ("timestamp", pa.int64()),
        ("user_id", pa.string()),
        ("user_segment", pa.string()),
        ("user_country", pa.string()),
        ("interests", pa.list_(pa.string())),
        ("query", pa.string()),
        ("device", pa.string()),
        ("price_max", pa.float32()),
        ("position", pa.int64()),
        ("item_id", pa.string()),
        ("clicked", pa.int64()),
        ("purchased", pa.int64()),
    ]
)
ITEMS_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("category", pa.string()),
        ("brand", pa.string()),
        ("price", pa.float32()),
        ("tags", pa.list_(pa.string())),
        ("release_time", pa.int64()),
    ]
)
LIST_SEPARATOR = "|"


def numbered_ids(prefix: str, numbers: npt.NDArray[np.int64], digits: int) -> pa.Array:
    """Return ids such as `u0000042`: string [n], the number in decimal with leading zeros."""
    width = len(prefix) + digits
    text = np.empty((len(numbers), width), dtype=np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix.encode("ascii"), dtype=np.uint8)
    for digit in range(digits):
        text[:, width - 1 - digit] = numbers // 10**digit % 10 + ord("0")
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * width
    return pa.Array.from_buffers(pa.string(), len(numbers), [None, pa.py_buffer(offsets), pa.py_buffer(text.tobytes())])


def user_ids(numbers: npt.NDArray[np.int64]) -> pa.Array:
    """Return the ids of users."""
    return numbered_ids("u", numbers, 7)


def item_ids(numbers: npt.NDArray[np.int64]) -> pa.Array:
    """Return the ids of items."""
    return numbered_ids("i", numbers, 7)


def _named(words: tuple[str, ...], codes: npt.NDArray[np.signedinteger[Any]]) -> pa.Array:
    """Return the words of codes, "" for -1."""
    return pa.array(("", *words)).take(pa.array(codes.astype(np.int32) + 1))


def _lists(words: tuple[str, ...], codes: npt.NDArray[np.signedinteger[Any]]) -> pa.Array:
    """Return lists of words from codes [n, k] padded with -1."""
    present = codes >= 0
    offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(words).take(pa.array(codes[present])))


def interactions_table(
    impressions: Impressions,
    request_side: tuple[RequestArray, Queries, Users],
    behaviour: Behaviour,
    first_request: int,
) -> pa.Table:
    """Build the rows of a window.

    Args:
        impressions: m impressions.
        request_side: their requests, what these ask for, and the users.
        behaviour: what happened to them.
        first_request: number of the window's first request within the whole simulation.

    Returns:
        A table of `INTERACTIONS_SCHEMA` with m rows.
    """
    requests, queries, users = request_side
    user = requests["user"]
    # Built once per request and then repeated for each impression.
    per_request = pa.table(
        [
            numbered_ids("r", first_request + np.arange(len(requests)), 10),
            pa.array(requests["time"]),
            user_ids(user),
            _named(vocabulary.SEGMENTS, users.segment[user]),
            _named(vocabulary.COUNTRIES, users.country[user]),
            _lists(vocabulary.CATEGORY_NAMES, users.interests[user]),
            queries.texts(),
            _named(vocabulary.DEVICES, requests["device"]),
            pa.array(requests["price_max"]),
        ],
        names=INTERACTIONS_SCHEMA.names[:9],
    ).take(pa.array(impressions.request))
    columns = [
        pa.array(impressions.position),
        item_ids(impressions.item),
        pa.array(behaviour.clicked),
        pa.array(behaviour.purchased),
    ]
    return pa.table([*per_request.columns, *columns], schema=INTERACTIONS_SCHEMA)


def items_table(catalogue: Catalogue, begin: int, end: int) -> pa.Table:
    """Build the rows of a run of items.

    Args:
        catalogue: the items.
        begin: first item.
        end: one past the last item.

    Returns:
        A table of `ITEMS_SCHEMA` with `end - begin` rows.
    """
    rows = slice(begin, end)
    columns = [
        item_ids(np.arange(begin, end)),
        title_texts(catalogue, begin, end),
        _named(vocabulary.CATEGORY_NAMES, catalogue.category[rows]),
        _named(vocabulary.BRANDS, catalogue.brand[rows]),
        pa.array(catalogue.price[rows]),
        _lists(vocabulary.TAGS, catalogue.tags[rows]),
        pa.array(catalogue.release[rows]),
    ]
    return pa.table(columns, schema=ITEMS_SCHEMA)


def flat_table(table: pa.Table) -> pa.Table:
    """Make a table fit for CSV: lists joined by `|`, NaN as an empty field."""
    columns = []
    for column in table.columns:
        if pa.types.is_list(column.type):
            column = pc.binary_join(column, LIST_SEPARATOR)
        elif pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        columns.append(column)
    return pa.table(columns, names=table.column_names)
