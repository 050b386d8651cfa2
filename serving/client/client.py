"""The synchronous client."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Optional, Union, overload

from crossrec.serving.client.decoding import Answer, rankings, recommendations
from crossrec.serving.client.encoding import RequestLike, as_inputs, encode_inputs
from crossrec.serving.client.errors import ContractError, RequestError, RequestRefusedError
from crossrec.serving.client.schema import ModelMetadata, parse_metadata
from crossrec.serving.client.transport import Transport
from crossrec.serving.client.types import Ranking, Recommendations, Request, VersionStatus
from crossrec.serving.contract import messages, names


@dataclass(frozen=True)
class ClientConfig:
    """How a client calls.

    Attributes:
        version: Version to ask; None for the server's latest.
        version_label: Version label to ask instead, such as "stable"; not together with `version`.
        deadline_seconds: Time that a call may take in all, where the call does not say otherwise.

    Raises:
        ValueError: The values contradict each other.
    """

    version: Optional[int] = None
    version_label: Optional[str] = None
    deadline_seconds: float = names.DEFAULT_DEADLINE_SECONDS

    def __post_init__(self) -> None:
        if self.version is not None and self.version_label is not None:
            raise ValueError(f"version={self.version} and version_label={self.version_label!r}: give one of them")
        if self.version is not None and self.version < 0:
            raise ValueError(f"version={self.version}: give a version number of zero or more")
        if not 0 < self.deadline_seconds < float("inf"):
            raise ValueError(f"deadline_seconds={self.deadline_seconds}: give a positive number of seconds")


class RecommenderClient:
    """Asks one model on one server. Threads may share it.

    The first call reads the model's inputs from the server. Inputs that a request leaves out are sent as
    "missing". Where the server refuses a request, the inputs are read again once, since a new version may
    have changed them.

    Args:
        target: Address, such as ``127.0.0.1:8500``.
        model_name: Name under which the server knows the model.
        config: Version and deadline.
    """

    def __init__(
        self, target: str, model_name: str = names.DEFAULT_MODEL_NAME, config: Optional[ClientConfig] = None
    ) -> None:
        if not target:
            raise RequestError("target", target, "is empty", "Give host:port, such as 127.0.0.1:8500")
        if not model_name:
            raise RequestError("model_name", model_name, "is empty", "Give the name under which the model is served")
        self.target = target
        self.model_name = model_name
        self.config = config or ClientConfig()
        self._transport = Transport(target)
        self._metadata: Optional[ModelMetadata] = None
        self._lock = threading.Lock()

    def __enter__(self) -> "RecommenderClient":
        return self

    def __exit__(
        self,
        error_type: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    @overload
    def recommend(
        self, requests: RequestLike, *, limit: Optional[int] = None, deadline_seconds: Optional[float] = None
    ) -> Recommendations: ...

    @overload
    def recommend(
        self,
        requests: Sequence[RequestLike],
        *,
        limit: Optional[int] = None,
        deadline_seconds: Optional[float] = None,
    ) -> list[Recommendations]: ...

    def recommend(
        self,
        requests: Union[RequestLike, Sequence[RequestLike]],
        *,
        limit: Optional[int] = None,
        deadline_seconds: Optional[float] = None,
    ) -> Union[Recommendations, list[Recommendations]]:
        """Ask for the items that fit a request best.

        Args:
            requests: One `Request` or mapping of features, or a list of them, which is sent as one batch.
            limit: At most so many items per request; None for as many as the model gives.
            deadline_seconds: Time that the call may take; None for the client's own.

        Returns:
            The items by falling score; a list of results for a list of requests.

        Raises:
            RequestError: A request does not fit the model's inputs.
            CallError: The server refused, was not there, or was too late.
            ContractError: The model is no bundle.
        """
        return self._items(names.RECOMMEND, requests, limit, deadline_seconds)

    @overload
    def retrieve(
        self, requests: RequestLike, *, limit: Optional[int] = None, deadline_seconds: Optional[float] = None
    ) -> Recommendations: ...

    @overload
    def retrieve(
        self,
        requests: Sequence[RequestLike],
        *,
        limit: Optional[int] = None,
        deadline_seconds: Optional[float] = None,
    ) -> list[Recommendations]: ...

    def retrieve(
        self,
        requests: Union[RequestLike, Sequence[RequestLike]],
        *,
        limit: Optional[int] = None,
        deadline_seconds: Optional[float] = None,
    ) -> Union[Recommendations, list[Recommendations]]:
        """Ask for the candidates of the first stage, before ranking.

        Args:
            requests: As in `recommend`.
            limit: As in `recommend`.
            deadline_seconds: As in `recommend`.

        Returns:
            As `recommend`, with retrieval's scores.

        Raises:
            RequestError: As in `recommend`.
            CallError: As in `recommend`.
            ContractError: As in `recommend`.
        """
        return self._items(names.RETRIEVE, requests, limit, deadline_seconds)

    @overload
    def rank(self, requests: RequestLike, *, deadline_seconds: Optional[float] = None) -> Ranking: ...

    @overload
    def rank(self, requests: Sequence[RequestLike], *, deadline_seconds: Optional[float] = None) -> list[Ranking]: ...

    def rank(
        self, requests: Union[RequestLike, Sequence[RequestLike]], *, deadline_seconds: Optional[float] = None
    ) -> Union[Ranking, list[Ranking]]:
        """Score given candidates.

        Args:
            requests: As in `recommend`, each with `candidate_items`.
            deadline_seconds: As in `recommend`.

        Returns:
            The candidates in the order in which they were sent, each with its score and task probabilities.

        Raises:
            RequestError: As in `recommend`; also where a request has no candidates.
            CallError: As in `recommend`.
            ContractError: As in `recommend`.
        """
        batch, single = _batch(requests)
        candidates = [_candidates(request) for request in batch]
        results = rankings(self._predict(names.RANK, batch, deadline_seconds), candidates)
        return results[0] if single else results

    def status(self, *, deadline_seconds: Optional[float] = None) -> list[VersionStatus]:
        """Ask for the state of the model's versions.

        Args:
            deadline_seconds: As in `recommend`.

        Returns:
            The versions that the server knows, the highest first, ended ones included; only
            the configured version where the client has one. Labels are ignored.

        Raises:
            CallError: As in `recommend`.
        """
        request = messages.GetModelStatusRequest()
        request.model_spec.name = self.model_name
        if self.config.version is not None:
            request.model_spec.version.value = self.config.version
        deadline = self._deadline(deadline_seconds)
        response = self._call(messages.GET_MODEL_STATUS_METHOD, request, deadline)
        state_name = messages.ModelVersionStatus.State.Name
        return [
            VersionStatus(int(one.version), state_name(one.state), int(one.status.error_code), one.status.error_message)
            for one in response.model_version_status
        ]

    def metadata(self, *, deadline_seconds: Optional[float] = None) -> ModelMetadata:
        """Ask for the model's signatures, and use them from now on.

        Args:
            deadline_seconds: As in `recommend`.

        Returns:
            Inputs and outputs of every signature.

        Raises:
            CallError: As in `recommend`.
        """
        return self._learn(self._deadline(deadline_seconds))

    def _items(
        self,
        signature: str,
        requests: Union[RequestLike, Sequence[RequestLike]],
        limit: Optional[int],
        deadline_seconds: Optional[float],
    ) -> Union[Recommendations, list[Recommendations]]:
        if limit is not None and limit < 1:
            raise RequestError("limit", limit, "is no number of items", "Give 1 or more, or None for all")
        batch, single = _batch(requests)
        results = recommendations(self._predict(signature, batch, deadline_seconds), limit)
        return results[0] if single else results

    def _predict(self, signature: str, batch: Sequence[RequestLike], deadline_seconds: Optional[float]) -> Answer:
        deadline = self._deadline(deadline_seconds)
        known = self._metadata
        if known is None:
            return self._predict_as(self._learn(deadline), signature, batch, deadline)
        try:
            return self._predict_as(known, signature, batch, deadline)
        except (RequestError, ContractError, RequestRefusedError):
            # A new version may have other inputs than those that were read. Asked again only when they
            # differ, so a request that is wrong costs one look and no second Predict.
            current = self._learn(deadline)
            if current.signatures == known.signatures:
                raise
            return self._predict_as(current, signature, batch, deadline)

    def _predict_as(
        self, known: ModelMetadata, signature: str, batch: Sequence[RequestLike], deadline: float
    ) -> Answer:
        request = messages.PredictRequest()
        self._fill_model_spec(request.model_spec)
        key = known.signature_key(signature)
        request.model_spec.signature_name = key
        encode_inputs(batch, known.signatures[key], request.inputs)
        start = time.perf_counter()
        response = self._call(messages.PREDICT_METHOD, request, deadline)
        return Answer(response, len(batch), (time.perf_counter() - start) * 1e3)

    def _learn(self, deadline: float) -> ModelMetadata:
        request = messages.GetModelMetadataRequest(metadata_field=[names.SIGNATURE_DEF_FIELD])
        self._fill_model_spec(request.model_spec)
        learned = parse_metadata(self._call(messages.GET_MODEL_METADATA_METHOD, request, deadline))
        with self._lock:
            self._metadata = learned
        return learned

    def _fill_model_spec(self, spec: Any) -> None:
        spec.name = self.model_name
        if self.config.version is not None:
            spec.version.value = self.config.version
        elif self.config.version_label is not None:
            spec.version_label = self.config.version_label

    def _deadline(self, seconds: Optional[float]) -> float:
        if seconds is not None and not seconds > 0:
            raise RequestError("deadline_seconds", seconds, "is no time", "Give a positive number of seconds")
        return time.monotonic() + (self.config.deadline_seconds if seconds is None else seconds)

    def _call(self, method: str, request: Any, deadline: float) -> Any:
        return self._transport.call(method, request, deadline - time.monotonic())


def _batch(requests: Union[RequestLike, Sequence[RequestLike]]) -> tuple[Sequence[RequestLike], bool]:
    if isinstance(requests, (Request, Mapping)):
        return [requests], True
    if isinstance(requests, (str, bytes)) or not isinstance(requests, Sequence):
        raise RequestError(
            "requests", requests, f"is {type(requests).__name__}", "Pass a Request, a mapping, or a list"
        )
    if not requests:
        raise RequestError("requests", requests, "is an empty batch", "Give at least one request")
    return requests, False


def _candidates(request: RequestLike) -> list[str]:
    items = as_inputs(request).get(names.CANDIDATE_ITEMS)
    if items is None or isinstance(items, (str, bytes)) or not len(items):
        raise RequestError(names.CANDIDATE_ITEMS, items, "is no list of item ids", "Give the item ids to score")
    for item in items:
        if item is None or item == names.PADDING_ITEM:
            raise RequestError(names.CANDIDATE_ITEMS, items, f"holds {item!r}, which is padding", "Leave it out")
    return [str(item) for item in items]
