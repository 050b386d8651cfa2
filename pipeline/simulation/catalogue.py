"""The items of the marketplace: what they are, when they appear, how popular they are as time passes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import vocabulary
from .config import SECONDS_PER_DAY, SimulationConfig
from .users import TASTE_SIZE, distinct_codes

MAX_TAGS = 4
_SHARE_FROM_START = 0.55
_DAYS_OF_HISTORY = 300
_SHARE_WITHOUT_PRICE = 0.02
_CATEGORIES_PER_BRAND = 6
_TAG_COUNT_SHARES = (0.2, 0.3, 0.25, 0.15, 0.1)
_NOVELTY_DAYS = 4.0


class Catalogue(NamedTuple):
    """Columns of item state; I items, in the order of their ids, which says nothing about them."""

    release: npt.NDArray[np.int64]  # [I] unix seconds
    category: npt.NDArray[np.int8]  # [I]
    brand: npt.NDArray[np.int8]  # [I]
    noun: npt.NDArray[np.int8]  # [I] which of the category's nouns the title uses
    attributes: npt.NDArray[np.int8]  # [I, slots] attribute words of the title, -1 = none
    tags: npt.NDArray[np.int8]  # [I, MAX_TAGS], padded with -1
    price: npt.NDArray[np.float32]  # [I], NaN = unknown
    quality: npt.NDArray[np.float32]  # [I] standard normal
    popularity: npt.NDArray[np.float32]  # [I] log weight without drift
    drift: npt.NDArray[np.float32]  # [I, 2] amplitude (log weight) and phase (radians) of the drift
    taste: npt.NDArray[np.float32]  # [I, TASTE_SIZE]
    model: npt.NDArray[np.int16]  # [I] model number in the title

    def log_weights(self, time: int, days: int) -> npt.NDArray[np.float64]:
        """Return the log popularity of every item at a moment: its base, its drift, and a lift while it is new.

        Args:
            time: unix seconds.
            days: length of the simulated period, which is one period of the drift.

        Returns:
            Log weights, float64 [I]; those of items that are not released yet mean nothing.
        """
        phase = 2 * np.pi * time / (days * SECONDS_PER_DAY)
        age = np.maximum(time - self.release, 0) / SECONDS_PER_DAY
        drift = self.drift[:, 0] * np.sin(phase + self.drift[:, 1])
        return np.asarray(self.popularity + drift + 0.8 * np.exp(-age / _NOVELTY_DAYS), dtype=np.float64)


def _release_times(config: SimulationConfig, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Spread releases over history and the period; a fixed share is there from the start."""
    count = config.item_count
    at_start = round(count * _SHARE_FROM_START)
    history = config.start - rng.integers(0, _DAYS_OF_HISTORY * SECONDS_PER_DAY, size=at_start)
    period = rng.integers(config.start, config.end, size=count - at_start)
    return rng.permutation(np.concatenate([history, period])).astype(np.int64)


def make_catalogue(config: SimulationConfig) -> Catalogue:
    """Draw the catalogue.

    Args:
        config: the simulation's parameters.

    Returns:
        Item state, about 80 bytes an item.
    """
    rng = np.random.default_rng([config.seed, 2])
    count, categories = config.item_count, len(vocabulary.CATEGORIES)
    shares = np.exp(rng.normal(scale=0.35, size=categories))
    category = rng.choice(categories, size=count, p=shares / shares.sum())
    # A category's brands: those for which it is among the brand's own categories.
    homes = np.array([rng.permutation(categories) for _ in vocabulary.BRANDS])[:, :_CATEGORIES_PER_BRAND]
    brand = np.zeros(count, dtype=np.int8)
    for code in range(categories):
        mine = np.flatnonzero((homes == code).any(axis=1))
        rows = np.flatnonzero(category == code)
        brand[rows] = rng.choice(mine if len(mine) else np.arange(len(vocabulary.BRANDS)), size=len(rows))
    attributes = np.empty((count, len(vocabulary.ATTRIBUTE_SLOTS)), dtype=np.int8)
    for slot, (first, words, share) in enumerate(vocabulary.ATTRIBUTE_SLOTS):
        drawn = first + rng.integers(0, words, size=count)
        attributes[:, slot] = np.where(rng.random(count) < share, drawn, -1)
    medians = np.array([entry.median_price for entry in vocabulary.CATEGORIES])
    price = np.round(medians[category] * rng.lognormal(sigma=0.6, size=count), 2).astype(np.float32)
    price[rng.random(count) < _SHARE_WITHOUT_PRICE] = np.nan
    quality = rng.normal(size=count)
    return Catalogue(
        release=_release_times(config, rng),
        category=category.astype(np.int8),
        brand=brand,
        noun=rng.choice(vocabulary.NOUNS_PER_CATEGORY, size=count, p=(0.5, 0.2, 0.2, 0.1)).astype(np.int8),
        attributes=attributes,
        tags=distinct_codes(
            rng,
            count,
            MAX_TAGS,
            len(vocabulary.TAGS),
            rng.choice(MAX_TAGS + 1, size=count, p=_TAG_COUNT_SHARES),
        ),
        price=price,
        quality=quality.astype(np.float32),
        popularity=(0.4 * quality + rng.normal(scale=0.9, size=count)).astype(np.float32),
        drift=np.stack([rng.uniform(0.0, 0.9, size=count), rng.uniform(0.0, 2 * np.pi, size=count)], axis=1).astype(
            np.float32
        ),
        taste=rng.normal(size=(count, TASTE_SIZE)).astype(np.float32),
        model=rng.integers(0, 2_600, size=count).astype(np.int16),
    )
