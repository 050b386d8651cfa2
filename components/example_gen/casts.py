"""Casts of raw columns, whatever their file type, to the kinds that features know.

All functions take and give whole Arrow arrays. Missing is null in every result.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

MISSING_NUMBERS = ("", "NaN", "nan", "NA", "N/A", "NULL", "null", "None")
"""Texts that stand for a missing number."""

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_A_TIME = "a time (unix seconds or ISO-8601)"
_ZONE = r"\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$"


@dataclasses.dataclass
class CastError(Exception):
    """A value that a cast cannot take.

    Attributes:
        row: Index of the first such row.
        value: What it holds.
        expected: What it should be, for example ``a number``.
    """

    row: int
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.value} is not {self.expected}"


def to_text(column: pa.Array, whole_numbers: bool = False) -> pa.Array:
    """Cast to text; "" and NaN become null, and whole floats lose their ".0".

    Args:
        column: Any scalar array, [rows].
        whole_numbers: Whether text such as "17850.0" loses its ".0" as well: pandas writes so the ids of a
            column with gaps to CSV.

    Returns:
        String array [rows].

    Raises:
        CastError: If bytes are not UTF-8, or the type has no text form.
    """
    column = _plain(column)
    kind = column.type
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
        # Beyond 2^53 neighbouring whole numbers are one float: keep the float's own writing there.
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2.0**53))
        if pc.all(whole, min_count=0).as_py():
            return column.cast(pa.int64()).cast(pa.string())
        integers = pc.if_else(whole, column, pa.scalar(None, pa.float64())).cast(pa.int64()).cast(pa.string())
        return pc.if_else(pc.fill_null(whole, False), integers, column.cast(pa.string()))
    if pa.types.is_binary(kind):
        text = _cast(column, pa.string(), "UTF-8 text")
    elif pa.types.is_string(kind):
        text = column
    else:
        try:
            text = column.cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise CastError(0, _shown(column[0].as_py()), f"text, a number or a date but {kind}") from None
    if pc.any(pc.equal(text, ""), min_count=0).as_py():
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    if whole_numbers and pc.any(pc.ends_with(text, ".0"), min_count=0).as_py():
        text = pc.replace_substring_regex(text, r"^(-?\d+)\.0$", r"\1")
    return text


def to_floats(column: pa.Array) -> pa.Array:
    """Cast to float64; NaN and the texts of `MISSING_NUMBERS` become null. Infinite values stay.

    Args:
        column: Numbers, booleans or text, [rows].

    Returns:
        Float64 array [rows].

    Raises:
        CastError: If a text is not a number.
    """
    column = _plain(column)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        text = pc.ascii_trim_whitespace(to_text(column))
        text = pc.if_else(pc.is_in(text, value_set=pa.array(MISSING_NUMBERS)), pa.scalar(None, pa.string()), text)
        text = pc.replace_substring_regex(text, r"^\+", "")
        floats = _cast(text, pa.float64(), "a number")
    elif pa.types.is_temporal(kind):
        raise CastError(0, _shown(column[0].as_py()), "a number")
    else:
        try:
            floats = column.cast(pa.float64(), safe=False)
        except pa.ArrowNotImplementedError:
            # Booleans go to float by way of integers.
            floats = column.cast(pa.int8()).cast(pa.float64()) if pa.types.is_boolean(kind) else None
        if floats is None:
            raise CastError(0, _shown(column[0].as_py()), "a number")
    return pc.if_else(pc.is_nan(floats), pa.scalar(None, pa.float64()), floats)


def too_large(floats: pa.Array) -> pa.Array:
    """Say which numbers are infinite, or become so as float32.

    Args:
        floats: Float64 array [rows].

    Returns:
        Boolean array [rows] without nulls.
    """
    return pc.fill_null(pc.greater(pc.abs(floats), _LARGEST_FLOAT32), False)


def to_seconds(column: pa.Array) -> pa.Array:
    """Cast times to unix seconds, rounded down; times without a zone are UTC.

    Args:
        column: Whole or floating unix seconds, ISO-8601 text, dates or timestamps, [rows].

    Returns:
        Int64 array [rows].

    Raises:
        CastError: If a value is no time.
    """
    column = _plain(column)
    kind = column.type
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_timestamp(kind):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        return _floor_divide(column.cast(pa.int64()), per_second)
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("s")).cast(pa.int64())
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        text = pc.ascii_trim_whitespace(to_text(column))
        # "-" inside, past a sign: a date. Unix seconds as text have none.
        dates = pc.fill_null(pc.match_substring_regex(text, r"\d-"), False)
        if not pc.any(dates, min_count=0).as_py():
            return _whole(_cast_numbers(text), text)
        if pc.all(dates, min_count=0).as_py():
            return _iso_seconds(text)
        nothing = pa.scalar(None, pa.string())
        numbers = pc.if_else(dates, nothing, text)
        return pc.coalesce(_whole(_cast_numbers(numbers), text), _iso_seconds(pc.if_else(dates, text, nothing)))
    return _whole(to_floats(column), column)


def to_lists(column: pa.Array, separator: str | None) -> pa.Array:
    """Cast to lists of text; empty lists become null, missing elements go.

    Args:
        column: Lists of anything scalar, or text whose values `separator` separates, [rows].
        separator: What separates the values of text.

    Returns:
        Array [rows] of lists of text.

    Raises:
        CastError: If the column is neither.
    """
    column = _plain(column)
    if pa.types.is_list(column.type):
        lists = column
    elif separator is None:
        raise CastError(0, _shown(column[0].as_py()), "a list (and no separator is given)")
    else:
        lists = pc.split_pattern(to_text(column), separator)
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    flat = to_text(pc.list_flatten(lists))
    flat = pc.utf8_trim_whitespace(flat)
    kept = pc.fill_null(pc.not_equal(flat, ""), False)
    rows = np.repeat(np.arange(len(counts)), counts)[kept.to_numpy(zero_copy_only=False)]
    return lists_from(np.bincount(rows, minlength=len(counts)), flat.filter(kept))


def to_vectors(column: pa.Array, separator: str | None) -> pa.Array:
    """Cast to lists of numbers; empty lists become null, NaN and missing elements null elements.

    Args:
        column: Lists of numbers, or text whose numbers `separator` separates, [rows].
        separator: What separates the numbers of text.

    Returns:
        Array [rows] of lists of float64.

    Raises:
        CastError: If the column is neither, or an element is no number.
    """
    column = _plain(column)
    if pa.types.is_fixed_size_list(column.type):
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        column = lists_from(valid * column.type.list_size, column.flatten())
    if pa.types.is_list(column.type):
        lists = column
    elif separator is None and column.null_count < len(column):
        first = column.drop_null()[0].as_py()
        raise CastError(int(column.is_valid().index(True).as_py()), _shown(first), "a list (and no separator is given)")
    else:
        lists = pc.split_pattern(to_text(column), separator or ",")
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    try:
        floats = to_floats(pc.list_flatten(lists))
    except CastError as error:
        error.row = int(np.searchsorted(np.cumsum(counts), error.row, side="right"))
        raise
    return lists_from(counts, floats)


def lists_from(counts: npt.NDArray[Any], values: pa.Array) -> pa.Array:
    """Build an array of lists; a list without values becomes null.

    Args:
        counts: Number of values of each row, [rows].
        values: The values, row after row, [sum of counts].

    Returns:
        Array [rows] of lists.
    """
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    absent = np.append(np.asarray(counts) == 0, False)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32(), mask=absent), values)


def _plain(column: pa.Array) -> pa.Array:
    """Undo dictionary encoding, large types, decimals and all-null columns."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if pa.types.is_large_string(kind):
        return column.cast(pa.string())
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return column.cast(pa.binary())
    if pa.types.is_large_list(kind):
        return column.cast(pa.list_(kind.value_type))
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    return column.cast(pa.string()) if pa.types.is_null(kind) else column


def _cast(column: pa.Array, kind: pa.DataType, expected: str) -> pa.Array:
    """Cast, and finds the first row that cannot be cast by halving: a cast of rows before it succeeds."""
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        good, bad = 0, len(column)
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                column.slice(good, middle - good).cast(kind)
                good = middle
            except pa.ArrowInvalid:
                bad = middle
        # Invalid bytes have no text form; as bytes they can at least be shown.
        value = column.slice(good, 1).cast(pa.binary())[0].as_py()
        shown = value if pa.types.is_binary(column.type) else value.decode("utf-8")
        raise CastError(good, _shown(shown), expected) from None


def _cast_numbers(text: pa.Array) -> pa.Array:
    text = pc.if_else(pc.is_in(text, value_set=pa.array(MISSING_NUMBERS)), pa.scalar(None, pa.string()), text)
    return _cast(text, pa.float64(), _A_TIME)


def _iso_seconds(text: pa.Array) -> pa.Array:
    # Arrow takes at most six digits of a second into microseconds, whose range of years is wide enough.
    text = pc.replace_substring_regex(text, r"(\.\d{6})\d+", r"\1")
    zoned = pc.fill_null(pc.match_substring_regex(text, _ZONE), False)
    parts = []
    for mask, kind in ((zoned, pa.timestamp("us", "UTC")), (pc.invert(zoned), pa.timestamp("us"))):
        if pc.any(mask, min_count=0).as_py():
            chosen = pc.if_else(mask, text, pa.scalar(None, pa.string()))
            parts.append(_cast(chosen, kind, _A_TIME).cast(pa.int64()))
    return _floor_divide(pc.coalesce(*parts) if parts else pa.nulls(len(text), pa.int64()), 10**6)


def _floor_divide(values: pa.Array, divisor: int) -> pa.Array:
    mask = values.is_null().to_numpy(zero_copy_only=False)
    whole = pc.fill_null(values, 0).to_numpy(zero_copy_only=False)
    return pa.array(whole // divisor, pa.int64(), mask=mask)


def _whole(floats: pa.Array, source: pa.Array) -> pa.Array:
    beyond = pc.fill_null(pc.greater_equal(pc.abs(floats), 2.0**63), False)
    if pc.any(beyond, min_count=0).as_py():
        bad = np.flatnonzero(beyond.to_numpy(zero_copy_only=False))
        raise CastError(int(bad[0]), _shown(source[int(bad[0])].as_py()), "a finite whole number")
    return pc.floor(floats).cast(pa.int64())


def _shown(value: object, width: int = 60) -> str:
    """Write a value for a message: short whatever it holds."""
    shown = repr(value)
    return shown if len(shown) <= width else shown[: width - 1] + "…"
