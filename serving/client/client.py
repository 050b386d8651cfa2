"""The synchronous client."""

from collections.abc import Sequence
from types import TracebackType
from typing import Optional, Union, overload

from crossrec.serving.client.balancing import TargetStatus
from crossrec.serving.client.calls import CallOptions, Calls, Requests
from crossrec.serving.client.config import ClientConfig
from crossrec.serving.client.encoding import RequestLike
from crossrec.serving.client.fallback import Fallback
from crossrec.serving.client.observers import Observer
from crossrec.serving.client.schema import ModelMetadata
from crossrec.serving.client.transport import Transport
from crossrec.serving.client.types import Ranking, Recommendations, VersionStatus
from crossrec.serving.contract import names


class RecommenderClient:
    """Asks one model on one or several servers.

    Threads may share a client; a forked process may not, and is told so: make one client per process, after the
    fork. The first call to a target reads the model's inputs from it; they are read again when another version
    answers or refuses. Inputs that a request leaves out are sent as "missing".

    Args:
        targets: Address, such as ``127.0.0.1:8500`` or ``dns:///recommender:8500``, or several of servers that serve
            the same model.
        model_name: Name under which the servers know the model.
        config: How to call.
        fallback: Called where no server answered in time or in health, once per request; gives item ids (best first)
            or pairs of id and score, for `rank` one score per candidate, or None to let the error through. It runs
            after the budget is gone, so it must be quick.
        observers: Hooks for metrics and traces.

    Raises:
        RequestError: An address or the name is empty, or an address is given twice.
        ValueError: A certificate cannot be read.
    """

    def __init__(
        self,
        targets: Union[str, Sequence[str]],
        model_name: str = names.DEFAULT_MODEL_NAME,
        config: Optional[ClientConfig] = None,
        fallback: Optional[Fallback] = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._calls = Calls(targets, model_name, config or ClientConfig(), fallback, observers)
        self.targets = self._calls.targets
        self.model_name = model_name
        self.config = self._calls.config
        self._transport = Transport(self.config, self._calls.shared.observers)

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
        """Close the connections; calls under way are cancelled."""
        self._transport.close()

    @overload
    def recommend(
        self,
        requests: RequestLike,
        *,
        limit: Optional[int] = None,
        deadline_seconds: Optional[float] = None,
        version: Optional[int] = None,
        version_label: Optional[str] = None,
    ) -> Recommendations: ...

    @overload
    def recommend(
        self,
        requests: Sequence[RequestLike],
        *,
        limit: Optional[int] = None,
        deadline_seconds: Optional[float] = None,
        version: Optional[int] = None,
        version_label: Optional[str] = None,
    ) -> list[Recommendations]: ...

    def recommend(
        self,
        requests: Requests,
        *,
        limit: Optional[int] = None,
        deadline_seconds: Optional[float] = None,
        version: Optional[int] = None,
        version_label: Optional[str] = None,
    ) -> Union[Recommendations, list[Recommendations]]:
        """Ask for the items that fit a request best.

        Args:
            requests: One `Request` or mapping of features, or a list of them, which is sent as one batch.
            limit: At most so many items per request; None for as many as the model gives.
            deadline_seconds: Time that the call may take, all attempts included; None for the client's own.
            version: Version to ask in place of the client's own choice.
            version_label: Version label to ask in place of the client's own choice.

        Returns:
            The items by falling score; a list of results for a list of requests.

        Raises:
            RequestError: A request does not fit the model's inputs.
            CallError: The server refused, was not there, or was too late.
            ContractError: The model is no bundle.
        """
        options = CallOptions(limit, deadline_seconds, version, version_label)
        return self._transport.run(self._calls.items(names.RECOMMEND, requests, options))

    @overload
    def retrieve(
        self,
        requests: RequestLike,
        *,
        limit: Optional[int] = None,
        deadline_seconds: Optional[float] = None,
        version: Optional[int] = None,
        version_label: Optional[str] = None,
    ) -> Recommendations: ...

    @overload
    def retrieve(
        self,
        requests: Sequence[RequestLike],
        *,
        limit: Optional[int] = None,
        deadline_seconds: Optional[float] = None,
        version: Optional[int] = None,
        version_label: Optional[str] = None,
    ) -> list[Recommendations]: ...

    def retrieve(
        self,
        requests: Requests,
        *,
        limit: Optional[int] = None,
        deadline_seconds: Optional[float] = None,
        version: Optional[int] = None,
        version_label: Optional[str] = None,
    ) -> Union[Recommendations, list[Recommendations]]:
        """Ask for the candidates of the first stage, before ranking.

        Args:
            requests: As in `recommend`.
            limit: As in `recommend`.
            deadline_seconds: As in `recommend`.
            version: As in `recommend`.
            version_label: As in `recommend`.

        Returns:
            As `recommend`, with retrieval's scores.

        Raises:
            RequestError: As in `recommend`.
            CallError: As in `recommend`.
            ContractError: As in `recommend`.
        """
        options = CallOptions(limit, deadline_seconds, version, version_label)
        return self._transport.run(self._calls.items(names.RETRIEVE, requests, options))

    @overload
    def rank(
        self,
        requests: RequestLike,
        *,
        deadline_seconds: Optional[float] = None,
        version: Optional[int] = None,
        version_label: Optional[str] = None,
    ) -> Ranking: ...

    @overload
    def rank(
        self,
        requests: Sequence[RequestLike],
        *,
        deadline_seconds: Optional[float] = None,
        version: Optional[int] = None,
        version_label: Optional[str] = None,
    ) -> list[Ranking]: ...

    def rank(
        self,
        requests: Requests,
        *,
        deadline_seconds: Optional[float] = None,
        version: Optional[int] = None,
        version_label: Optional[str] = None,
    ) -> Union[Ranking, list[Ranking]]:
        """Score given candidates.

        Args:
            requests: As in `recommend`, each with `candidate_items`.
            deadline_seconds: As in `recommend`.
            version: As in `recommend`.
            version_label: As in `recommend`.

        Returns:
            The candidates in the order in which they were sent, each with its score and task probabilities.

        Raises:
            RequestError: As in `recommend`; also where a request has no candidates.
            CallError: As in `recommend`.
            ContractError: As in `recommend`.
        """
        options = CallOptions(None, deadline_seconds, version, version_label)
        return self._transport.run(self._calls.rank(requests, options))

    def status(self, *, deadline_seconds: Optional[float] = None, target: Optional[str] = None) -> list[VersionStatus]:
        """Ask a server for the state of the model's versions.

        Args:
            deadline_seconds: As in `recommend`.
            target: Which of the client's targets to ask; None for any.

        Returns:
            The versions that the server knows, the highest first, ended ones included; only
            the configured version where the client has one. Labels are ignored.

        Raises:
            RequestError: `target` is none of the client's.
            CallError: As in `recommend`.
        """
        options = CallOptions(deadline_seconds=deadline_seconds, target=target)
        return self._transport.run(self._calls.status(options))

    def metadata(
        self,
        *,
        deadline_seconds: Optional[float] = None,
        version: Optional[int] = None,
        version_label: Optional[str] = None,
        target: Optional[str] = None,
    ) -> ModelMetadata:
        """Ask a server for the model's signatures, and use them for it from now on.

        Args:
            deadline_seconds: As in `recommend`.
            version: As in `recommend`.
            version_label: As in `recommend`.
            target: As in `status`.

        Returns:
            Inputs and outputs of every signature.

        Raises:
            RequestError: `target` is none of the client's.
            CallError: As in `recommend`.
        """
        options = CallOptions(None, deadline_seconds, version, version_label, target)
        return self._transport.run(self._calls.metadata(options))

    def target_status(self) -> list[TargetStatus]:
        """Return the targets as this client sees them; sends nothing."""
        return self._calls.target_status()
