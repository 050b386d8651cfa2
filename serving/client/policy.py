"""Decisions about retries, as functions of what is known; nothing here waits or sends."""

import threading
from typing import Optional

import grpc

from crossrec.serving.client.config import BalanceConfig, RetryConfig

# An attempt with less time than this cannot be answered.
MIN_ATTEMPT_SECONDS = 0.001
_BUDGET_RESERVE = 10.0


def backoff_limit(config: RetryConfig, failures: int) -> float:
    """Bound the pause after a failed attempt.

    Args:
        config: Bounds and growth.
        failures: Failed attempts so far, at least one.

    Returns:
        Seconds: ``min(max_backoff, initial_backoff · multiplier^(failures - 1))``.
    """
    return float(
        min(config.max_backoff_seconds, config.initial_backoff_seconds * config.backoff_multiplier ** (failures - 1))
    )


def is_retried(config: RetryConfig, code: grpc.StatusCode) -> bool:
    """Tell whether a failed attempt may be followed by another.

    Args:
        config: Codes after which a call is sent again.
        code: How the attempt ended.

    Returns:
        True for the listed codes, and for an attempt that took the whole of its own share of the time.
    """
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return config.attempt_seconds is not None
    return code in config.codes


def retry_delay(
    config: RetryConfig, failures: int, code: grpc.StatusCode, remaining_seconds: float, chance: float
) -> Optional[float]:
    """Decide whether a call is sent again, and when.

    Args:
        config: When a call is sent again.
        failures: Failed attempts so far, at least one.
        code: How the last one ended.
        remaining_seconds: What is left of the call's budget.
        chance: Random number in [0, 1), for the jitter.

    Returns:
        Seconds to wait; None where the call has failed for good.
    """
    if failures >= config.max_attempts or not is_retried(config, code):
        return None
    delay = chance * backoff_limit(config, failures)
    return delay if delay + MIN_ATTEMPT_SECONDS < remaining_seconds else None


def ejection_seconds(config: BalanceConfig, ejections: int, chance: float) -> float:
    """Decide how long a target stays out.

    Args:
        config: Bounds.
        ejections: Ejections and failed probes in a row, this one counted.
        chance: Random number in [0, 1), so that not all clients probe at once.

    Returns:
        Seconds, between half and the whole of ``min(max_ejection, ejection · 2^(ejections - 1))``.
    """
    # The exponent is bounded because 2.0 ** 1024 overflows.
    limit = min(config.max_ejection_seconds, config.ejection_seconds * 2.0 ** min(ejections - 1, 64))
    return limit * (0.5 + 0.5 * chance)


class RetryBudget:
    """Bounds retries and hedges over all calls of a client, so that they cannot multiply an outage's load.

    Each call adds `ratio` of a token, each retry or hedge takes one; the budget starts full, with ten.

    Args:
        ratio: Tokens that a call adds.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._tokens = _BUDGET_RESERVE
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Note a call."""
        with self._lock:
            self._tokens = min(_BUDGET_RESERVE, self._tokens + self._ratio)

    def spend(self) -> bool:
        """Ask for a retry or a hedge.

        Returns:
            Whether there was a token for it.
        """
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
