"""Feature crosses: their configuration, and one operator per kind, the same in the pipeline and in serving."""

from crossrec.components.features.crosses.checks import check_crosses
from crossrec.components.features.crosses.config import (
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
    "PADDING",
    "CrossConfig",
    "HashedCross",
    "SimilarityCross",
    "StatisticsCross",
    "VocabularyCross",
    "check_crosses",
    "cross_ids",
    "cross_ids_numpy",
    "cross_keys",
    "cross_keys_numpy",
    "default_buckets",
    "expand",
]
