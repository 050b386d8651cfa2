"""The ``crosses`` section of the spec, and what the selector needs to know beside it."""

from __future__ import annotations

from crossrec.components.cross_selector.auto import AutoCrosses
from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.crosses import CrossConfig
from crossrec.components.features.frozen import Frozen


class CrossesConfig(Frozen):
    """Which crosses the models see.

    Attributes:
        explicit: Crosses that are always there.
        auto: How further ones are searched; none are if left out.
    """

    explicit: tuple[CrossConfig, ...] = ()
    auto: AutoCrosses | None = None


class CrossSelectorConfig(Frozen):
    """What the selector computes.

    Attributes:
        features: The features that crosses are made of.
        crosses: The crosses, explicit and to be found.
        label: The label that the crosses shall explain.
    """

    features: FeaturesConfig
    crosses: CrossesConfig
    label: str
