"""The history equals its definition, computed row by row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from crossrec.components.example_gen.history import recent_items


def by_definition(users, seconds, positive, items, length):
    lists = []
    for user, moment in zip(users, seconds, strict=True):
        earlier = [
            item
            for other, when, hit, item in zip(users, seconds, positive, items, strict=True)
            if other == user and when < moment and hit
        ]
        lists.append(earlier[::-1][:length] or None)
    return lists


@pytest.mark.parametrize("seed", range(20))
def test_history_equals_its_definition(seed):
    random = np.random.default_rng(seed)
    rows = int(random.integers(1, 120))
    users = random.integers(0, random.integers(1, 8), rows)
    seconds = random.integers(0, random.integers(1, 30), rows)
    order = np.lexsort((seconds, users))
    users, seconds = users[order], seconds[order]
    positive = random.random(rows) < random.random()
    items = [f"i{number}" for number in random.integers(0, 9, rows)]
    length = int(random.integers(1, 6))
    found = recent_items(users, seconds, positive, pa.array(items), length)
    assert found.to_pylist() == by_definition(users, seconds, positive, items, length)


def test_rows_of_one_moment_do_not_see_each_other():
    found = recent_items(np.zeros(3), np.array([5, 5, 6]), np.ones(3, bool), pa.array(["a", "b", "c"]), 9)
    assert found.to_pylist() == [None, None, ["b", "a"]]


def test_the_future_does_not_change_the_past():
    random = np.random.default_rng(0)
    users, seconds = np.repeat(np.arange(5), 20), np.tile(np.arange(20), 5)
    positive, items = random.random(100) < 0.5, pa.array([f"i{n}" for n in range(100)])
    whole = recent_items(users, seconds, positive, items, 4).to_pylist()
    past = seconds < 12
    cut = recent_items(users[past], seconds[past], positive[past], items.filter(pa.array(past)), 4).to_pylist()
    assert cut == [row for row, early in zip(whole, past, strict=True) if early]


def test_no_rows():
    assert recent_items(np.zeros(0), np.zeros(0), np.zeros(0, bool), pa.array([], pa.string()), 3).to_pylist() == []
