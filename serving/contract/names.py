"""Names of signatures, inputs and outputs, the value that means "missing", and limits.

A bundle is one SavedModel. Every input has a leading batch dimension ``B``:

========== =============================================== ==========================================
signature  inputs                                          outputs
========== =============================================== ==========================================
recommend  query inputs, ``exclude_items`` string [B, E]   ``item_ids`` string [B, N], ``scores``
                                                           float32 [B, N], ``model_version`` int64
                                                           [B], display columns string [B, N]
retrieve   as recommend                                    ``item_ids``, ``scores``, ``model_version``
rank       query inputs, ``candidate_items`` string [B, C] ``scores`` float32 [B, C],
                                                           ``model_version``, ``probability_<task>``
========== =============================================== ==========================================

A spec may add inputs of ``recommend`` and ``retrieve``: ``filter_<column>`` string [B, F], accepted values of a
column of the items; ``k`` int64 [B], the items wanted; ``probes`` int64 [B], the partitions to look at.

A list shorter than ``N`` is padded at its end with an empty id and a score of minus infinity.
"""

import math
from types import MappingProxyType
from typing import Final, Union

DEFAULT_SIGNATURE: Final = "serving_default"
RECOMMEND: Final = "recommend"
RETRIEVE: Final = "retrieve"
RANK: Final = "rank"
SIGNATURES: Final = (RECOMMEND, RETRIEVE, RANK)

EXCLUDE_ITEMS: Final = "exclude_items"
CANDIDATE_ITEMS: Final = "candidate_items"
RECENT_ITEMS: Final = "recent_items"
# Inputs of recommend and retrieve that a spec may add; empty lists and 0 leave the search as it is.
FILTER_PREFIX: Final = "filter_"
K: Final = "k"
PROBES: Final = "probes"
USER_ID: Final = "user_id"
QUERY: Final = "query"

ITEM_IDS: Final = "item_ids"
SCORES: Final = "scores"
MODEL_VERSION: Final = "model_version"
PROBABILITY_PREFIX: Final = "probability_"

DEFAULT_MODEL_NAME: Final = "recommender"
DEFAULT_PORT: Final = 8500
DEFAULT_DEADLINE_SECONDS: Final = 1.0

PADDING_ITEM: Final = ""
PADDING_SCORE: Final = -math.inf

MISSING_STRING: Final = b""
MISSING_FLOAT: Final = math.nan
MISSING_INT: Final = 0
# Keys are the numpy names of the dtypes that the inputs of a bundle may have.
MISSING: Final[MappingProxyType[str, Union[bytes, float, int]]] = MappingProxyType(
    {
        "string": MISSING_STRING,
        "float32": MISSING_FLOAT,
        "float64": MISSING_FLOAT,
        "int32": MISSING_INT,
        "int64": MISSING_INT,
    }
)

# TensorFlow Serving reads its warm-up records from here and refuses a version with more.
EXTRA_ASSETS_DIRECTORY: Final = "assets.extra"
WARMUP_FILE: Final = "tf_serving_warmup_requests"
GOLDEN_FILE: Final = "golden_requests"
MAX_WARMUP_RECORDS: Final = 1000
# TensorFlow Serving cuts longer error messages and ends them in TRUNCATION_MARK.
MAX_ERROR_MESSAGE: Final = 1024
TRUNCATION_MARK: Final = "...TRUNCATED"

SERVING_TAG: Final = "serve"
SIGNATURE_DEF_FIELD: Final = "signature_def"
