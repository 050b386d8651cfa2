"""Reads durations, times and shares from the command line of `crossrec experiment`."""

from __future__ import annotations

import argparse
import math
import re
from datetime import datetime, timezone

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def duration(text: str) -> float:
    """Read a duration.

    Args:
        text: A number with s, m, h, d or w, such as 7d.

    Returns:
        Seconds.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not float(match[1]) > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write a number with s, m, h, d or w, such as 7d")
    return float(match[1]) * _SECONDS[match[2]]


def moment(text: str) -> float:
    """Read a time.

    Args:
        text: Unix seconds, or ISO-8601; UTC unless it says otherwise.

    Returns:
        Unix seconds.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    try:
        seconds = float(text)
        if math.isfinite(seconds):
            return seconds
    except ValueError:
        pass  # no number, so it is a date
    try:
        # Python 3.9 does not know the Z.
        parsed = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2025-06-18, 2025-06-18T09:00 or unix seconds"
        ) from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()


def shares(text: str) -> tuple[float, ...]:
    """Read weights of arms.

    Args:
        text: Weights with commas between them, the control's first, such as 80,20.

    Returns:
        Shares; they sum to 1.

    Raises:
        argparse.ArgumentTypeError: They are none.
    """
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        weights = []
    if len(weights) < 2 or not all(0 < weight < math.inf for weight in weights):
        raise argparse.ArgumentTypeError(f"{text!r} are no weights; write two or more numbers, such as 80,20")
    return tuple(weight / math.fsum(weights) for weight in weights)
