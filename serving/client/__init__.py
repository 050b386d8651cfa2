"""Client of a served bundle for search backends: needs grpcio, protobuf and numpy, no TensorFlow.

Example:
    client = RecommenderClient("127.0.0.1:8500", "recommender")
    for item in client.recommend({"user_id": "u17", "query": "red shoes"}).items:
        print(item.id, item.score, item.attributes)
"""

from crossrec.serving.client.client import ClientConfig, RecommenderClient
from crossrec.serving.client.errors import (
    CallError,
    ContractError,
    DeadlineExceededError,
    NotFoundError,
    RecommenderError,
    RequestError,
    RequestRefusedError,
    UnavailableError,
)
from crossrec.serving.client.schema import InputSpec, ModelMetadata, SignatureSpec
from crossrec.serving.client.types import Item, ItemList, Ranking, Recommendations, Request, VersionStatus

__all__ = [
    "CallError",
    "ClientConfig",
    "ContractError",
    "DeadlineExceededError",
    "InputSpec",
    "Item",
    "ItemList",
    "ModelMetadata",
    "NotFoundError",
    "Ranking",
    "RecommenderClient",
    "RecommenderError",
    "Recommendations",
    "Request",
    "RequestError",
    "RequestRefusedError",
    "SignatureSpec",
    "UnavailableError",
    "VersionStatus",
]
