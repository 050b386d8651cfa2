"""Client of a served bundle for search backends: needs grpcio, protobuf and numpy, no TensorFlow.

Example:
    client = RecommenderClient("127.0.0.1:8500", "recommender")
    for item in client.recommend({"user_id": "u17", "query": "red shoes"}).items:
        print(item.id, item.score, item.attributes)
"""

from crossrec.serving.client.async_client import AsyncRecommenderClient
from crossrec.serving.client.balancing import TargetStatus
from crossrec.serving.client.client import RecommenderClient
from crossrec.serving.client.config import (
    BalanceConfig,
    ClientConfig,
    HedgeConfig,
    KeepAliveConfig,
    RetryConfig,
    TlsConfig,
)
from crossrec.serving.client.errors import (
    AccessError,
    CallError,
    ClientStateError,
    ContractError,
    DeadlineExceededError,
    NotFoundError,
    OverloadedError,
    RecommenderError,
    RequestError,
    RequestRefusedError,
    UnavailableError,
)
from crossrec.serving.client.fallback import FailedCall
from crossrec.serving.client.observers import AttemptEnd, Call, CallEnd, Observer
from crossrec.serving.client.schema import InputSpec, ModelMetadata, SignatureSpec
from crossrec.serving.client.types import Item, ItemList, Ranking, Recommendations, Request, VersionStatus

__all__ = [
    "AccessError",
    "AsyncRecommenderClient",
    "AttemptEnd",
    "BalanceConfig",
    "Call",
    "CallEnd",
    "CallError",
    "ClientConfig",
    "ClientStateError",
    "ContractError",
    "DeadlineExceededError",
    "FailedCall",
    "HedgeConfig",
    "InputSpec",
    "Item",
    "ItemList",
    "KeepAliveConfig",
    "ModelMetadata",
    "NotFoundError",
    "Observer",
    "OverloadedError",
    "Ranking",
    "RecommenderClient",
    "RecommenderError",
    "Recommendations",
    "Request",
    "RequestError",
    "RequestRefusedError",
    "RetryConfig",
    "SignatureSpec",
    "TargetStatus",
    "TlsConfig",
    "UnavailableError",
    "VersionStatus",
]
