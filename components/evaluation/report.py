"""The evaluation's result: figures by name, and whether each threshold is met."""

from __future__ import annotations

from typing import ClassVar

from crossrec.components.errors import DataError
from crossrec.components.evaluation.config import ThresholdConfig
from crossrec.components.features.document import Document
from crossrec.components.features.frozen import Frozen


class Verdict(Frozen):
    """One threshold and what became of it."""

    metric: str
    value: float
    bound: str
    passed: bool


class Report(Document):
    """All figures of one evaluation.

    Attributes:
        metrics: Figures by name: ``end_to_end/…``, ``retrieval/…``, ``popularity/…``, ``ranking/<task>/…``.
        slices: The same by ``column=value``.
        counts: Queries, rows, items.
        verdicts: The thresholds.
    """

    FILE: ClassVar[str] = "report.json"

    metrics: dict[str, float]
    slices: dict[str, dict[str, float]]
    counts: dict[str, int]
    verdicts: tuple[Verdict, ...] = ()

    @property
    def blessed(self) -> bool:
        """Whether every threshold is met."""
        return all(verdict.passed for verdict in self.verdicts)


def judge(metrics: dict[str, float], thresholds: tuple[ThresholdConfig, ...]) -> tuple[Verdict, ...]:
    """Holds the figures against the thresholds; a figure that is missing or no number fails.

    Raises:
        DataError: A threshold names a metric that was not measured; the error lists those that were.
    """
    verdicts = []
    for threshold in thresholds:
        if threshold.metric not in metrics:
            raise DataError(
                "evaluation.thresholds",
                f"{threshold.metric!r} was not measured",
                f"Choose one of {', '.join(sorted(metrics))}.",
            )
        value = metrics[threshold.metric]
        if threshold.minimum is not None:
            verdicts.append(
                _verdict(threshold.metric, value, f"at least {threshold.minimum}", value >= threshold.minimum)
            )
        if threshold.maximum is not None:
            verdicts.append(
                _verdict(threshold.metric, value, f"at most {threshold.maximum}", value <= threshold.maximum)
            )
        if threshold.times_popularity is not None:
            least = threshold.times_popularity * metrics[threshold.metric.replace("end_to_end/", "popularity/")]
            bound = f"at least {threshold.times_popularity} x popularity ({least:.4f})"
            verdicts.append(_verdict(threshold.metric, value, bound, value >= least))
    return tuple(verdicts)


def _verdict(metric: str, value: float, bound: str, passed: bool) -> Verdict:
    return Verdict(metric=metric, value=value, bound=bound, passed=bool(passed))
