"""Retrieval scores for logged rows, and sampled candidates of retrieval as negatives: numpy in, numpy out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crossrec.components.features.crosses import cross_ids_numpy
from crossrec.components.features.item_table import Array
from crossrec.components.features.schema import (
    CANDIDATE,
    ITEM_ROW,
    POSITION,
    RETRIEVAL_SCORE,
    RETRIEVED,
    USER,
    WEIGHT,
    label_key,
)
from crossrec.components.features.sorted_keys import find
from crossrec.components.ranking_examples.config import RankingExamplesConfig

# Queries to scores and rows of the nearest items, [B, k] each, and to scores of given rows.
Search = Callable[[dict[str, Array], Array], tuple[Array, Array, Array]]


@dataclass(frozen=True)
class Drawable:
    """Which items may be drawn as negatives of which users.

    Attributes:
        positives: The pairs of user and item that are positives, as sorted 63-bit keys.
        logged: Rows of the items that some row of training shows, sorted. Nobody can have liked the others: as
            negatives they would teach that new items are bad.
    """

    positives: Array
    logged: Array

    @classmethod
    def of(cls, users: Array, rows: Array, logged: Array) -> Drawable:
        """From the positives, users int64 ``[n]`` (hashed) and item rows ``[n]``, and the items that were logged.

        A negative row is an unknown item, and never drawn.
        """
        return cls(np.unique(_pair_keys(users, rows)), np.unique(logged[logged >= 0]))

    def allows(self, users: Array, rows: Array) -> Array:
        """Whether each item may be a negative; users ``[n]``, rows ``[n, k]``; bool ``[n, k]``."""
        keys = _pair_keys(np.repeat(users, rows.shape[1]), rows.reshape(-1))
        free: Array = (find(self.positives, keys) < 0).reshape(rows.shape) & (find(self.logged, rows) >= 0)
        return free


def _pair_keys(users: Array, rows: Array) -> Array:
    return cross_ids_numpy([users[:, None] & (2**62 - 1), rows[:, None] & (2**62 - 1)], "user_x_item", 2**62)[:, 0]


def ranking_rows(
    batch: dict[str, Array], search: Search, drawable: Drawable, config: RankingExamplesConfig, rng: np.random.Generator
) -> dict[str, Array]:
    """The logged rows with their retrieval score, and sampled negatives below them.

    Args:
        batch: Transformed interactions ``{name: [B, width]}``.
        search: The retrieval model over its index.
        drawable: Which items may be negatives.
        config: How many negatives, from how far down the list.
        rng: Source of chance.

    Returns:
        The same columns, and ``@retrieval_score``, ``@weight``, ``@retrieved`` (1: not logged, but sampled), and
        ``@candidate`` (1: among the query's nearest items); ``[B', width]``.
    """
    own_scores, scores, rows = search(batch, batch[ITEM_ROW])
    logged = {
        **batch,
        RETRIEVAL_SCORE: own_scores.astype(np.float32),
        WEIGHT: np.ones((len(rows), 1), np.float32),
        RETRIEVED: np.zeros((len(rows), 1), np.int64),
        CANDIDATE: (own_scores >= scores[:, -1:]).astype(np.int64),
    }
    positive = np.flatnonzero(batch[label_key(config.label)][:, 0] > 0)
    wanted = config.negatives.retrieved
    if not wanted or not len(positive):
        return logged
    candidates, candidate_scores = rows[positive], scores[positive]
    free = drawable.allows(batch[USER][positive, 0], candidates)
    # Draws without replacement: the free candidates with the largest random keys.
    order = np.argsort(np.where(free, -rng.random(free.shape), 1.0), axis=1)[:, :wanted]
    taken = np.take_along_axis(free, order, 1).reshape(-1)
    source = np.repeat(positive, order.shape[1])[taken]
    negatives = {name: values[source] for name, values in batch.items()}
    for name in batch:
        if name.startswith(label_key("")):
            negatives[name] = np.zeros_like(negatives[name])
    negatives[ITEM_ROW] = np.take_along_axis(candidates, order, 1).reshape(-1, 1)[taken]
    negatives[RETRIEVAL_SCORE] = np.take_along_axis(candidate_scores, order, 1).reshape(-1, 1)[taken]
    negatives[WEIGHT] = np.full((len(source), 1), config.negatives.weight, np.float32)
    negatives[RETRIEVED] = np.ones((len(source), 1), np.int64)
    negatives[CANDIDATE] = np.ones((len(source), 1), np.int64)
    if POSITION in negatives:
        negatives[POSITION] = np.zeros_like(negatives[POSITION])
    return {name: np.concatenate([logged[name], negatives[name]]) for name in logged}
