"""What the step needs to know of the spec."""

from __future__ import annotations

from crossrec.components.features.frozen import Frozen
from crossrec.components.ranking_trainer.config import NegativesConfig


class RankingExamplesConfig(Frozen):
    """How ranking examples are made.

    Attributes:
        label: The label that makes a row a positive.
        lists: Whether a record holds all rows of one list, as tasks of grades need them, and not one row.
        negatives: Negatives from retrieval.
        last_days: Days at the end of the training split whose rows become examples; all of them if left out.
        seed: Of their choice.
    """

    label: str
    lists: bool = False
    negatives: NegativesConfig
    last_days: float | None = None
    seed: int = 0
