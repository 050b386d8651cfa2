r"""The learning rate over a training: warm-up, and a fall by epochs or where the validation metric rests.

The rate of an epoch depends on nothing but the configuration and the metrics so far, so that a training that
goes on after a kill finds it again without a state of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from crossrec.components.features.frozen import Frozen


class ScheduleConfig(Frozen):
    r"""How the learning rate changes.

    Attributes:
        type: ``constant``; ``cosine``, from epoch to epoch along :math:`(1 + \cos(\pi\,epoch / epochs)) / 2`
            (Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, without
            restarts); ``plateau``, times ``factor`` where the validation metric does not improve.
        warm_up_steps: Over the first steps the rate grows in a straight line from almost nothing.
        factor: Of ``plateau``.
        rest: Epochs without a better metric after which ``plateau`` lowers the rate.
        floor: Lowest share of the learning rate.
    """

    type: Literal["constant", "cosine", "plateau"] = "constant"
    warm_up_steps: int = Field(default=0, ge=0)
    factor: float = Field(default=0.1, gt=0, lt=1)
    rest: int = Field(default=1, ge=1)
    floor: float = Field(default=0.0, ge=0, lt=1)


def share_of_epoch(config: ScheduleConfig, losses: Sequence[float], epochs: int) -> float:
    """Share of the learning rate in the epoch that follows.

    Args:
        config: The schedule.
        losses: The validation metric of each finished epoch, lower is better.
        epochs: Epochs planned, at least one more than finished.

    Returns:
        A number above 0, at most 1.
    """
    if config.type == "cosine":
        fall = 0.5 * (1.0 + math.cos(math.pi * len(losses) / epochs))
        return config.floor + (1.0 - config.floor) * fall
    if config.type == "plateau":
        return max(config.factor ** _falls(losses, config.rest), config.floor)
    return 1.0


def warm_up_share(config: ScheduleConfig, step: int) -> float:
    """Share of the epoch's rate in a step, counted from 0."""
    return min(1.0, (step + 1) / config.warm_up_steps) if config.warm_up_steps else 1.0


def _falls(losses: Sequence[float], rest: int) -> int:
    best, resting, falls = math.inf, 0, 0
    for loss in losses:
        if loss < best:
            best, resting = loss, 0
        else:
            resting += 1
            if resting == rest:
                falls, resting = falls + 1, 0
    return falls
