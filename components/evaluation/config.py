"""The ``evaluation`` section of the spec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from crossrec.components.features.frozen import Frozen

# Figures are named <list>/<metric>@<k> and ranking/<task>/<metric>.
MEASURED_LISTS = ("end_to_end", "retrieval", "popularity")
LIST_METRICS = ("recall", "ndcg", "hit_rate", "mrr")


def task_metrics(kind: str, cut_offs: tuple[int, ...]) -> tuple[str, ...]:
    """The metrics of a task, by its type."""
    if kind == "graded":
        return tuple(f"ndcg@{k}" for k in cut_offs)
    return ("auc", "log_loss", "calibration")


class ThresholdConfig(Frozen):
    """A metric that must reach a value, or a lead over popularity, before anything is published.

    Attributes:
        metric: Name as in the report, for example ``end_to_end/ndcg@10``.
        minimum: Least value.
        maximum: Greatest value.
        times_popularity: Least ratio to the same metric of the popularity baseline.
    """

    metric: str
    minimum: float | None = None
    maximum: float | None = None
    times_popularity: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _has_a_bound(self) -> ThresholdConfig:
        if self.minimum is None and self.maximum is None and self.times_popularity is None:
            raise ValueError(f"{self.metric!r} has no bound. Give minimum, maximum or times_popularity")
        if self.times_popularity is not None and not self.metric.startswith("end_to_end/"):
            raise ValueError(f"times_popularity goes with end_to_end/... metrics, not with {self.metric!r}")
        return self


class EvaluationConfig(Frozen):
    """What is measured on the test split.

    Attributes:
        k: Cut-offs of the list metrics, and of the NDCG of graded tasks.
        group_by: What one query is: all test positives of a ``user``, or of a ``request`` (one list shown).
        new_items_only: Items that the user already had are excluded from lists and from what counts as a hit.
        max_queries: Queries at most, evenly chosen.
        slices: Query columns by whose values ranking's AUC and the list metrics are reported as well.
        thresholds: What decides the blessing.
    """

    k: tuple[int, ...] = Field(default=(10, 20), min_length=1)
    group_by: Literal["user", "request"] = "user"
    new_items_only: bool = False
    max_queries: int = Field(default=5000, ge=1)
    slices: tuple[str, ...] = ()
    thresholds: tuple[ThresholdConfig, ...] = (ThresholdConfig(metric="end_to_end/ndcg@10", times_popularity=1.0),)

    @model_validator(mode="after")
    def _cut_offs(self) -> EvaluationConfig:
        if min(self.k) < 1:
            raise ValueError(f"k holds {min(self.k)}. Cut-offs begin at 1")
        for threshold in self.thresholds:
            _, _, cut = threshold.metric.partition("@")
            if cut and (not cut.isdigit() or int(cut) not in self.k):
                raise ValueError(f"thresholds name {threshold.metric!r}, but k is {list(self.k)}. Add the cut-off to k")
        return self


class EvaluationRoles(Frozen):
    """The raw columns that tell which rows belong together, and the label of a hit.

    Attributes:
        user: User id.
        item: Item id.
        timestamp: Unix seconds.
        request: Id of the list shown; "" if there is none.
        label: The label that makes a row a positive.
    """

    user: str
    item: str
    timestamp: str
    request: str
    label: str
