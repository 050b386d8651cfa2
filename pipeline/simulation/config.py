"""The parameters of a simulated marketplace."""

from __future__ import annotations

import math
import time
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

MAX_ROWS = 10**9
MAX_USERS = 2_000_000
MAX_ITEMS = 1_000_000
SECONDS_PER_DAY = 86_400
# Leaves room for the release times of items that are older than the period.
_EARLIEST_START = 730 * SECONDS_PER_DAY

# field -> (least, most). `users`, `items` and `end` have rules of their own on top.
_RANGES: dict[str, tuple[int, int]] = {
    "rows": (100, MAX_ROWS),
    "users": (10, MAX_USERS),
    "items": (50, MAX_ITEMS),
    "seed": (0, 2**32 - 1),
    "days": (2, 3_650),
    "shown": (3, 40),
    "chunk_rows": (1_000, 5_000_000),
    "rows_per_file": (1_000, 100_000_000),
}


class SimulationConfig(BaseModel):
    """Everything that the simulated files depend on: equal configurations give equal bytes.

    `chunk_rows` is part of that: rows are drawn in windows of time of at most about that many rows, each with
    its own random stream, so another chunk size is another (equally distributed) marketplace. The bytes also
    depend on the versions of numpy and pyarrow.

    Args:
        rows: impressions to write, exactly.
        users: size of the user population; by default one per 50 rows, at most 2,000,000.
        items: size of the catalogue; by default 2,000 at 100,000 rows, growing with the square root of rows, at
            least 500, at most 1,000,000.
        seed: start of every random stream, 0 to 2**32 - 1.
        days: length of the simulated period in days; it ends at `end`.
        end: end of the period, exclusive, in unix seconds (UTC); it must lie in the past.
        shown: items shown per request on average; a request shows from `shown - 2` to `shown + 2`.
        format: `parquet`, or `csv` with multi-valued columns joined by `|`.
        chunk_rows: rows that are held in memory at a time and rows per Parquet row group.
        rows_per_file: rows per file of interactions.
        by_day: whether the interactions of each day (UTC) go into a folder of their own, named by its date.

    Raises:
        pydantic.ValidationError: a parameter is out of range; `errors.explain` makes it readable.

    Example:
        >>> SimulationConfig(rows=100_000).user_count
        2000
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rows: int = 100_000
    users: int | None = None
    items: int | None = None
    seed: int = 0
    days: int = 60
    end: int = Field(default=1_751_241_600, description="2025-06-30 00:00 UTC")
    shown: int = 8
    format: Literal["parquet", "csv"] = "parquet"
    chunk_rows: int = 200_000
    rows_per_file: int = 1_000_000
    by_day: bool = False

    @field_validator(*_RANGES)
    @classmethod
    def _in_range(cls, value: int | None, info: ValidationInfo) -> int | None:
        least, most = _RANGES[str(info.field_name)]
        if value is not None and not least <= value <= most:
            raise ValueError(f"must lie between {least:,} and {most:,}; choose a value in that range")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> SimulationConfig:
        if self.items is not None and self.items < 10 * self.shown:
            raise ValueError(
                f"items = {self.items}: a request shows about {self.shown} items, so the catalogue needs at least "
                f"{10 * self.shown}; raise items or lower shown"
            )
        if self.start < _EARLIEST_START:
            raise ValueError(
                f"end = {self.end}: the period of {self.days} days would begin before 1972; give a later end in "
                f"unix seconds, or fewer days"
            )
        now = int(time.time())
        if self.end > now:
            raise ValueError(
                f"end = {self.end}: lies in the future (now is {now}), and pipelines refuse timestamps from the "
                f"future; give an earlier end in unix seconds, or set this machine's clock"
            )
        return self

    @property
    def start(self) -> int:
        """Begin of the period in unix seconds."""
        return self.end - self.days * SECONDS_PER_DAY

    @property
    def user_count(self) -> int:
        """Size of the user population after defaults."""
        return self.users if self.users is not None else min(MAX_USERS, max(20, self.rows // 50))

    @property
    def item_count(self) -> int:
        """Size of the catalogue after defaults."""
        if self.items is not None:
            return self.items
        return min(MAX_ITEMS, max(500, round(2_000 * math.sqrt(self.rows / 100_000))))
