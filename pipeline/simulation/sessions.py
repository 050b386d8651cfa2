"""When requests happen and who makes them: sessions along the simulated period, a window of time after another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import vocabulary
from .config import SECONDS_PER_DAY, SimulationConfig
from .users import Users

_SECONDS_PER_HOUR = 3_600
_REQUESTS_PER_SESSION = 2.8
_MOST_REQUESTS_PER_SESSION = 20
_SECONDS_BETWEEN_REQUESTS = 75.0
_SHARE_OWN_DEVICE = 0.75
_ROWS_PER_WINDOW = 1_000

# One row per request. `category` is the session's intent; `price_max` is NaN where no filter is set.
REQUEST = np.dtype(
    [
        ("time", "i8"), ("user", "i8"), ("device", "i1"), ("category", "i8"), ("shown", "i8"), ("price_max", "f4"),
    ]
)  # fmt: skip
RequestArray = npt.NDArray[np.void]


class Calendar(NamedTuple):
    """The intensity of visits over the period, as a piecewise linear distribution function over hours."""

    edges: npt.NDArray[np.float64]  # [hours + 1] unix seconds
    distribution: npt.NDArray[np.float64]  # [hours + 1] from 0 to 1

    def moment(self, quantile: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return the unix second by which the given share of all visits has begun."""
        return np.asarray(np.interp(quantile, self.distribution, self.edges), dtype=np.int64)


def make_calendar(config: SimulationConfig) -> Calendar:
    """Build the intensity of visits: more in the evening and at weekends, slowly growing.

    Args:
        config: the simulation's parameters.
    """
    hours = np.arange(config.days * 24)
    edges = config.start + np.arange(len(hours) + 1) * float(_SECONDS_PER_HOUR)
    hour_of_day = (edges[:-1] // _SECONDS_PER_HOUR) % 24
    # 1970-01-01 was a Thursday, so days 2 and 3 of the unix week are Saturday and Sunday.
    weekend = np.isin((edges[:-1] // SECONDS_PER_DAY) % 7, (2, 3))
    intensity = 1.0 + 0.6 * np.sin(2 * np.pi * (hour_of_day - 11.0) / 24)
    intensity *= np.where(weekend, 1.25, 1.0) * (1.0 + 0.3 * hours / len(hours))
    distribution = np.concatenate([[0.0], np.cumsum(intensity)])
    return Calendar(edges, distribution / distribution[-1])


def window_count(config: SimulationConfig) -> int:
    """Return into how many windows of equally many rows the period is cut: about days, more where rows are many."""
    by_memory = -(-config.rows // config.chunk_rows)
    return max(by_memory, min(config.days, max(1, config.rows // _ROWS_PER_WINDOW)))


class SessionStream:
    """Requests in the order of time, window by window.

    Sessions that begin in a window may run over its end; their late requests wait for the next window, so that the
    stream is sorted. The rows of all windows add up to exactly `config.rows`.

    Args:
        config: the simulation's parameters.
        users: the user population.
        category_weights: how often a category is looked for by someone without interest in it, [C], sum 1.
    """

    def __init__(self, config: SimulationConfig, users: Users, category_weights: npt.NDArray[np.float64]) -> None:
        self._config = config
        self._users = users
        self._category_weights = category_weights
        self._calendar = make_calendar(config)
        self._windows = window_count(config)
        self._waiting: RequestArray = np.zeros(0, dtype=REQUEST)
        self._rows = 0

    def window(self, number: int, rng: np.random.Generator) -> RequestArray:
        """Return the requests of the next window, sorted by time.

        Args:
            number: the window's number; windows must be asked for in order, each once.
            rng: the window's source of randomness.

        Returns:
            Requests [n], of dtype `REQUEST`.
        """
        last = number == self._windows - 1
        target = (number + 1) * self._config.rows // self._windows
        pieces = [self._waiting]
        while self._rows < target:
            sessions = int((target - self._rows) / (_REQUESTS_PER_SESSION * self._config.shown)) + 2
            piece = self._sessions(rng, sessions, number)
            if last:
                piece = _cut(piece, target - self._rows)
            pieces.append(piece)
            self._rows += int(piece["shown"].sum())
        requests = np.concatenate(pieces)
        if last:
            # What runs over the end of the period is folded back into it.
            over = requests["time"] >= self._config.end
            requests["time"][over] = 2 * self._config.end - 1 - requests["time"][over]
        requests = requests[np.argsort(requests["time"], kind="stable")]
        if last:
            return requests
        end = self._calendar.moment(np.array([(number + 1) / self._windows]))[0]
        now = int(np.searchsorted(requests["time"], end))
        self._waiting = requests[now:]
        return requests[:now]

    def _sessions(self, rng: np.random.Generator, count: int, window: int) -> RequestArray:
        """Draw sessions that begin in a window, and their requests."""
        begin = self._calendar.moment((window + rng.random(count)) / self._windows)
        user = self._users.draw(rng, begin)
        lengths = np.minimum(rng.geometric(1 / _REQUESTS_PER_SESSION, size=count), _MOST_REQUESTS_PER_SESSION)
        category = self._intent(rng, user)
        device = np.where(
            rng.random(count) < _SHARE_OWN_DEVICE,
            self._users.device[user],
            rng.choice(len(vocabulary.DEVICES), size=count, p=vocabulary.DEVICE_SHARES),
        )
        price_max = self._price_filter(rng, user, category)
        session = np.repeat(np.arange(count), lengths)
        requests = np.zeros(len(session), dtype=REQUEST)
        requests["user"] = user[session]
        requests["device"] = device[session]
        requests["price_max"] = price_max[session]
        wander = rng.random(len(session)) < 0.3
        requests["category"] = np.where(wander, self._intent(rng, user[session]), category[session])
        # A filter belongs to what was looked for first.
        requests["price_max"][requests["category"] != category[session]] = np.nan
        gaps = rng.exponential(_SECONDS_BETWEEN_REQUESTS, size=len(session))
        elapsed = np.cumsum(gaps)
        first = np.cumsum(lengths) - lengths
        requests["time"] = begin[session] + (elapsed - elapsed[first][session]).astype(np.int64)
        spread = min(2, self._config.shown - 1)
        requests["shown"] = self._config.shown + rng.integers(-spread, spread + 1, size=len(session))
        return requests

    def _intent(self, rng: np.random.Generator, user: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Draw the category that a user looks for: mostly an interest, else any category by its weight."""
        interests = self._users.interests[user]
        drawn = interests[np.arange(len(user)), rng.integers(0, interests.shape[1], size=len(user))]
        anything = rng.choice(len(self._category_weights), size=len(user), p=self._category_weights)
        use = (drawn >= 0) & (rng.random(len(user)) < 0.75)
        return np.where(use, drawn, anything).astype(np.int64)

    def _price_filter(
        self, rng: np.random.Generator, user: npt.NDArray[np.int64], category: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Draw budget filters; most sessions have none."""
        medians = np.array([entry.median_price for entry in vocabulary.CATEGORIES])
        budget = np.ceil(medians[category] * self._users.budget[user] / 5) * 5
        return np.where(rng.random(len(user)) < 0.35, budget, np.nan).astype(np.float32)


def _cut(requests: RequestArray, rows: int) -> RequestArray:
    """Keep requests until they add up to `rows`; the last one may be made to show fewer items."""
    before = np.cumsum(requests["shown"]) - requests["shown"]
    kept: RequestArray = requests[before < rows].copy()
    total = int(kept["shown"].sum())
    if total > rows:
        kept["shown"][-1] -= total - rows
    return kept
