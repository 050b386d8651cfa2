"""All metrics in one place: of ranked lists, of probabilities, and how sure they are."""

from crossrec.components.evaluation.classification_metrics import (
    GroupedAuc,
    SliceAuc,
    auc,
    auc_by_slice,
    grouped_auc,
    log_loss,
)
from crossrec.components.evaluation.intervals import (
    Interval,
    PairedComparison,
    auc_interval,
    bootstrap_interval,
    compare_paired,
    mean_interval,
)
from crossrec.components.evaluation.ragged import RaggedItems
from crossrec.components.evaluation.ranking_metrics import (
    hit_matrix,
    hit_rate_at_k,
    mrr_at_k,
    ndcg_at_k,
    ranking_metrics,
    recall_at_k,
)

__all__ = [
    "GroupedAuc",
    "Interval",
    "PairedComparison",
    "RaggedItems",
    "SliceAuc",
    "auc",
    "auc_by_slice",
    "auc_interval",
    "bootstrap_interval",
    "compare_paired",
    "grouped_auc",
    "hit_matrix",
    "hit_rate_at_k",
    "log_loss",
    "mean_interval",
    "mrr_at_k",
    "ndcg_at_k",
    "ranking_metrics",
    "recall_at_k",
]
