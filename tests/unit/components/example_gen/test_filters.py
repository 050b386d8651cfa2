"""Filters agree with their plain meaning, row by row."""

from __future__ import annotations

import datetime
import operator
import re

import numpy as np
import pyarrow as pa
import pytest

from crossrec.components.example_gen.filters import Filter

NUMBERS = [0.0, 1.0, 2.5, None, float("nan"), -1.0]
TEXTS = ["C123", "123", "", None, "abC"]


def met(op: str, value: object, column: pa.Array) -> list[bool]:
    return Filter(column="x", op=op, value=value).mask(column).to_pylist()


@pytest.mark.parametrize("op", ["greater", "greater_equal", "less", "less_equal", "equals"])
@pytest.mark.parametrize("value", [0, 1, 2.5])
def test_numbers_compare_as_python_does(op, value):
    name = {"greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "equals": "eq"}[op]
    compare = getattr(operator, name)
    expected = [number is not None and not np.isnan(number) and compare(number, value) for number in NUMBERS]
    as_numbers = pa.array(NUMBERS)
    as_text = pa.array(["" if number is None else str(number) for number in NUMBERS])
    assert met(op, value, as_numbers) == expected
    assert met(op, value, as_text) == expected


def test_patterns_are_found_anywhere_and_anchors_hold():
    expected = [text is not None and re.search("^C", text) is not None for text in TEXTS]
    assert met("matches", "^C", pa.array(TEXTS)) == expected
    assert met("matches", "C", pa.array(TEXTS)) == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("op", "negated", "value"),
    [("equals", "not_equals", "123"), ("in", "not_in", ["123", "abC"]), ("matches", "not_matches", "^C")],
)
def test_a_negation_holds_exactly_where_its_condition_does_not(op, negated, value):
    column = pa.array(TEXTS)
    assert met(negated, value, column) == [not holds for holds in met(op, value, column)]


def test_ids_compare_as_text_whatever_the_file_stores():
    assert met("equals", "17850", pa.array([17850.0, None])) == [True, False]
    assert met("in", ["17850"], pa.array([17850, 3])) == [True, False]
    assert met("equals", 17850, pa.array(["17850", "3"])) == [True, False]


def test_moments_compare_as_times():
    days = pa.array([datetime.date(2011, 1, 1), datetime.date(2011, 1, 2), None])
    assert met("greater_equal", "2011-01-02", days) == [False, True, False]
    assert met("less", "2011-01-01T12:00:00", pa.array(["2011-01-01", "2011-01-02"])) == [True, False]


def test_present():
    assert met("present", None, pa.array(TEXTS)) == [True, True, False, False, True]
    assert met("present", None, pa.array(NUMBERS)) == [True, True, True, False, False, True]
    assert met("present", None, pa.array([["a"], [], None])) == [True, False, False]


def test_booleans_are_one_and_zero():
    assert met("equals", True, pa.array([True, False, None])) == [True, False, False]
    assert met("in", [False], pa.array(["0", "1"])) == [True, False]
