"""Feature crosses: their configuration, and one operator per kind, the same in the pipeline and in serving."""

from crossrec.components.features.crosses.checks import check_crosses, check_vectors
from crossrec.components.features.crosses.config import (
    FOUND,
    BM25Cross,
    CrossConfig,
    HashedCross,
    SimilarityCross,
    StatisticsCross,
    VocabularyCross,
)
from crossrec.components.features.crosses.expansion import expand
from crossrec.components.features.crosses.hashing import (
    PADDING,
    cross_ids,
    cross_ids_numpy,
    cross_keys,
    cross_keys_numpy,
    default_buckets,
)

__all__ = [
    "FOUND",
    "PADDING",
    "BM25Cross",
    "CrossConfig",
    "HashedCross",
    "SimilarityCross",
    "StatisticsCross",
    "VocabularyCross",
    "check_crosses",
    "check_vectors",
    "cross_ids",
    "cross_ids_numpy",
    "cross_keys",
    "cross_keys_numpy",
    "default_buckets",
    "expand",
]
