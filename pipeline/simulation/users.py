"""The users of the marketplace: who they are, when they join, how active they are, what they like."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import vocabulary
from .config import SimulationConfig

TASTE_SIZE = 4
MAX_INTERESTS = 4
_SHARE_FROM_START = 0.5
_SHARE_WITHOUT_COUNTRY = 0.05
_INTEREST_COUNT_SHARES = (0.15, 0.25, 0.3, 0.2, 0.1)


class Users(NamedTuple):
    """Columns of user state, in the order in which users join; U users."""

    joined: npt.NDArray[np.int64]  # [U] unix seconds, ascending
    cumulative_activity: npt.NDArray[np.float64]  # [U] running sum of activity weights
    segment: npt.NDArray[np.int8]  # [U]
    country: npt.NDArray[np.int8]  # [U], -1 = missing
    device: npt.NDArray[np.int8]  # [U] the device that the user prefers
    interests: npt.NDArray[np.int8]  # [U, MAX_INTERESTS] categories, padded with -1
    budget: npt.NDArray[np.float32]  # [U] factor on a category's usual price
    taste: npt.NDArray[np.float32]  # [U, TASTE_SIZE]

    def draw(self, rng: np.random.Generator, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Draw one user per moment among those that have joined by then, in proportion to their activity.

        Args:
            rng: source of randomness.
            times: unix seconds [n].

        Returns:
            User numbers [n].
        """
        joined = np.maximum(np.searchsorted(self.joined, times, side="right"), 1)
        target = rng.random(len(times)) * self.cumulative_activity[joined - 1]
        return np.minimum(np.searchsorted(self.cumulative_activity, target, side="right"), joined - 1)


def distinct_codes(
    rng: np.random.Generator, rows: int, width: int, levels: int, counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int8]:
    """Draw up to `width` different codes per row.

    Args:
        rng: source of randomness.
        rows: number of rows n.
        width: most codes per row.
        levels: codes lie in 0..levels - 1.
        counts: how many codes to keep per row, [n]; doubles are dropped, so that a row may end with fewer.

    Returns:
        Codes [n, width], padded with -1 anywhere in the row.
    """
    codes = rng.integers(0, levels, size=(rows, width)).astype(np.int8)
    codes[np.arange(width)[None, :] >= counts[:, None]] = -1
    for column in range(1, width):
        repeated = (codes[:, :column] == codes[:, column : column + 1]).any(axis=1)
        codes[repeated, column] = -1
    return codes


def make_users(config: SimulationConfig) -> Users:
    """Draw the user population.

    Args:
        config: the simulation's parameters.

    Returns:
        User state, about 70 bytes a user.
    """
    rng = np.random.default_rng([config.seed, 1])
    count = config.user_count
    at_start = max(1, round(count * _SHARE_FROM_START))
    joined = np.full(count, config.start, dtype=np.int64)
    joined[at_start:] = np.sort(rng.integers(config.start, config.end, size=count - at_start))
    activity = rng.lognormal(sigma=1.0, size=count)
    country = rng.integers(0, len(vocabulary.COUNTRIES), size=count).astype(np.int8)
    country[rng.random(count) < _SHARE_WITHOUT_COUNTRY] = -1
    interest_counts = rng.choice(MAX_INTERESTS + 1, size=count, p=_INTEREST_COUNT_SHARES)
    return Users(
        joined=joined,
        cumulative_activity=np.cumsum(activity),
        segment=rng.integers(0, len(vocabulary.SEGMENTS), size=count).astype(np.int8),
        country=country,
        device=rng.choice(len(vocabulary.DEVICES), size=count, p=vocabulary.DEVICE_SHARES).astype(np.int8),
        interests=distinct_codes(rng, count, MAX_INTERESTS, len(vocabulary.CATEGORIES), interest_counts),
        budget=rng.lognormal(mean=0.4, sigma=0.5, size=count).astype(np.float32),
        taste=rng.normal(size=(count, TASTE_SIZE)).astype(np.float32),
    )
