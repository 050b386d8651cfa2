"""Casts give the same value whatever the file type, and name the first value that they cannot take."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest

from crossrec.components.example_gen import casts

UTC = datetime.timezone.utc
SECOND = 1319500800  # 2011-10-25


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([17850, None]), ["17850", None]),
        (pa.array([17850.0, float("nan"), None]), ["17850", None, None]),
        (pa.array([0.5, 2.0]), ["0.5", "2"]),
        (pa.array([2.0**60]), ["1.152921504606847e+18"]),
        (pa.array(["00123", "", None]), ["00123", None, None]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array([b"\xc3\xa9"]), ["é"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([decimal.Decimal("2.50")]), ["2.5"]),
        (pa.array([datetime.date(2011, 10, 25)]), ["2011-10-25"]),
        (pa.array([None, None]), [None, None]),
        (pa.array([], pa.float64()), []),
    ],
)
def test_text(column, expected):
    assert casts.to_text(column).to_pylist() == expected


def test_only_ids_lose_the_point_that_pandas_writes():
    column = pa.array(["17850.0", "1.0.0", "-3.0", "x.0", "1.50"])
    assert casts.to_text(column).to_pylist() == column.to_pylist()
    assert casts.to_text(column, whole_numbers=True).to_pylist() == ["17850", "1.0.0", "-3", "x.0", "1.50"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["1.5", " 2 ", "+3", "1e3", ".5"]), [1.5, 2.0, 3.0, 1000.0, 0.5]),
        (pa.array(["", "NaN", "null", "NA", None]), [None] * 5),
        (pa.array([1.5, float("nan"), None]), [1.5, None, None]),
        (pa.array([True, None]), [1.0, None]),
        (pa.array([7], pa.uint8()), [7.0]),
        (pa.array([decimal.Decimal("2.50")]), [2.5]),
        (pa.array(["-inf"]), [-np.inf]),
    ],
)
def test_floats(column, expected):
    assert casts.to_floats(column).to_pylist() == expected


def test_too_large_is_what_float32_cannot_hold():
    column = pa.array([1.0, None, float("inf"), float("-inf"), 1e39, 3e38])
    assert casts.too_large(column).to_pylist() == [False, False, True, True, True, False]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([SECOND]),
        pa.array([SECOND], pa.int32()),
        pa.array([SECOND + 0.75]),
        pa.array([str(SECOND)]),
        pa.array([f"{SECOND}.9"]),
        pa.array(["2011-10-25"]),
        pa.array(["2011-10-25 00:00"]),
        pa.array(["2011-10-25T00:00:00"]),
        pa.array(["2011-10-25T00:00:00.123456789"]),
        pa.array(["2011-10-25T00:00:00Z"]),
        pa.array(["2011-10-25T02:00:00+02:00"]),
        pa.array([b"2011-10-24 17:00:00-0700"]),
        pa.array([datetime.date(2011, 10, 25)]),
        pa.array([datetime.date(2011, 10, 25)], pa.date64()),
        pa.array([datetime.datetime(2011, 10, 25, 0, 0, 0, 999_999)]),
        pa.array([datetime.datetime(2011, 10, 25)], pa.timestamp("ns")),
        pa.array([datetime.datetime(2011, 10, 25, tzinfo=UTC)], pa.timestamp("ms", "Europe/Paris")),
    ],
)
def test_every_writing_of_a_time_gives_the_same_second(column):
    assert casts.to_seconds(column).to_pylist() == [SECOND]


def test_times_round_down_before_1970_too_and_keep_what_is_missing():
    column = pa.array([datetime.datetime(1969, 12, 31, 23, 59, 59, 500_000), None], pa.timestamp("us"))
    assert casts.to_seconds(column).to_pylist() == [-1, None]
    assert casts.to_seconds(pa.array(["", "2011-10-25", "12", None])).to_pylist() == [None, SECOND, 12, None]
    assert casts.to_seconds(pa.array(["9999-12-31"])).to_pylist() == [253402214400]


@pytest.mark.parametrize(
    ("column", "separator", "expected"),
    [
        (pa.array(["a|b", "", None, " c | |d"]), "|", [["a", "b"], None, None, ["c", "d"]]),
        (pa.array([b"a", b"b,c"]), ",", [["a"], ["b", "c"]]),
        (pa.array([["a", None, ""], [], None, ["b"]]), None, [["a"], None, None, ["b"]]),
        (pa.array([[1, 2], [3]]), None, [["1", "2"], ["3"]]),
        (pa.array([["a"], ["b", "c"]], pa.large_list(pa.large_string())).slice(1), None, [["b", "c"]]),
    ],
)
def test_lists(column, separator, expected):
    assert casts.to_lists(column, separator).to_pylist() == expected


@pytest.mark.parametrize(
    ("column", "separator", "expected"),
    [
        (pa.array(["1 2.5", "", None, "3 nan"]), " ", [[1.0, 2.5], None, None, [3.0, None]]),
        (pa.array([[1, 2], [], None, [3]]), None, [[1.0, 2.0], None, None, [3.0]]),
        (pa.array([[1.5, float("nan")], [None, 2.0]]), None, [[1.5, None], [None, 2.0]]),
        (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2)), None, [[1.0, 2.0], None, [3.0, 4.0]]),
        (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2)).slice(1), None, [None, [3.0, 4.0]]),
        (pa.array([[1], [2, 3]], pa.large_list(pa.float64())).slice(1), None, [[2.0, 3.0]]),
        (pa.nulls(2), None, [None, None]),
    ],
)
def test_vectors(column, separator, expected):
    assert casts.to_vectors(column, separator).to_pylist() == expected


@pytest.mark.parametrize(
    ("column", "separator", "row", "expected"),
    [
        (pa.array([None, "1 2"]), None, 1, "no separator"),
        (pa.array(["1 2", "", "3 x"]), " ", 2, "a number"),
        (pa.array([["1"], [], ["2", "y"]]), None, 2, "a number"),
    ],
)
def test_what_is_no_vector_is_refused(column, separator, row, expected):
    with pytest.raises(casts.CastError, match=expected) as caught:
        casts.to_vectors(column, separator)
    assert caught.value.row == row


@pytest.mark.parametrize("row", [0, 1, 7, 98, 99])
def test_the_first_bad_value_is_named(row):
    texts = ["1.5"] * 100
    texts[row] = "abc"
    texts[-1] = "abc" if row == 99 else "def"
    with pytest.raises(casts.CastError) as caught:
        casts.to_floats(pa.array(texts))
    assert (caught.value.row, caught.value.value, caught.value.expected) == (row, "'abc'", "a number")


def test_the_first_bad_bytes_are_named():
    with pytest.raises(casts.CastError) as caught:
        casts.to_text(pa.array([b"a", b"\xe9t\xe9", b"\xff"]))
    assert (caught.value.row, caught.value.expected) == (1, "UTF-8 text")
    assert "xe9" in caught.value.value


@pytest.mark.parametrize("text", ["yesterday", "2011-13-01", "25/10/2011", "1e300"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(casts.CastError) as caught:
        casts.to_seconds(pa.array(["2011-10-25" if "-" in text else "5", text]))
    assert caught.value.row == 1
    assert text in caught.value.value


@pytest.mark.parametrize("cast", [casts.to_text, casts.to_floats, casts.to_seconds])
def test_nested_values_are_refused(cast):
    with pytest.raises(casts.CastError):
        cast(pa.array([{"a": 1}]))
