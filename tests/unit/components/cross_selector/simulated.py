"""Rows with labels of known effects."""

import time

import numpy as np

from crossrec.components.cross_selector.auto import AutoCrosses
from crossrec.components.cross_selector.data import Rows, make_sample
from crossrec.components.cross_selector.search import Search
from crossrec.components.cross_selector.select import Question, search_and_confirm


def make_rows(seed, count, levels, logit=lambda columns: 0.0, users=300, user_sd=0.0):
    """Rows of independent features, named a, b, c… by their numbers of levels, and clicks of the given logits."""
    rng = np.random.default_rng(seed)
    columns = {chr(97 + at): rng.integers(0, size, count) for at, size in enumerate(levels)}
    user = rng.integers(0, users, count)
    logits = logit(columns) + user_sd * rng.normal(size=users)[user]
    labels = (rng.random(count) < 1 / (1 + np.exp(-logits))).astype(int)
    times = np.sort(rng.integers(0, 10**6, count))
    return Rows(columns, {"clicked": labels}, times, user, rng.integers(0, 2**62, count), {})


def table(seed, *sizes):
    """Random signs without any effect of fewer than all axes."""
    values = np.random.default_rng(seed).choice([-1.0, 1.0], sizes)
    for axis in range(len(sizes)):
        values = values - values.mean(axis=axis, keepdims=True)
    return values / values.std()


def search(rows, families=None, explicit=(), **auto):
    """What a search finds."""
    sample = make_sample(rows)
    families = families or {name: name for name in rows.columns}
    return Search(sample, AutoCrosses(**auto), families, explicit).run()


def select(rows, explicit=(), **auto):
    """The report of a whole selection."""
    sizes = {name: int(values.max()) + 1 for name, values in rows.columns.items()}
    asked = Question(AutoCrosses(**auto), {name: name for name in rows.columns}, tuple(explicit), sizes)
    return search_and_confirm(make_sample(rows), asked, time.monotonic())
