"""The client's operations without input and output: both clients carry out these plans."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional, TypeVar, Union

from crossrec.serving.client import fallback as fallbacks
from crossrec.serving.client.balancing import Target, TargetStatus
from crossrec.serving.client.config import Choice, ClientConfig, check_choice
from crossrec.serving.client.decoding import Answer, rankings, recommendations
from crossrec.serving.client.encoding import RequestLike, as_inputs
from crossrec.serving.client.errors import CallError, ContractError, RequestError
from crossrec.serving.client.exchange import (
    Ask,
    AttemptFailed,
    Inquiry,
    Plan,
    Reply,
    Shared,
    exchange,
    new_attempt,
    send,
)
from crossrec.serving.client.knowledge import Knowledge, Known
from crossrec.serving.client.observers import Call, CallEnd, Observer, Observers
from crossrec.serving.client.schema import ModelMetadata, parse_metadata
from crossrec.serving.client.traffic import RoutedRequest, split
from crossrec.serving.client.types import Ranking, Recommendations, Request, VersionStatus
from crossrec.serving.contract import messages, names

Requests = Union[RequestLike, Sequence[RequestLike]]
# How TensorFlow Serving begins when names, number or types of the inputs are not the signature's.
_WRONG_INPUTS = (
    "input size does not match signature",
    "Signature input alias",
    "Inputs contains invalid name",
    "Expects arg[",
)
_Result = TypeVar("_Result", Recommendations, Ranking)


class CallOptions(NamedTuple):
    """What a caller may say for one call."""

    limit: Optional[int] = None
    deadline_seconds: Optional[float] = None
    version: Optional[int] = None
    version_label: Optional[str] = None
    target: Optional[str] = None


class Calls:
    """Makes the plan of each operation.

    Args:
        targets: Addresses of servers of the same model.
        model_name: Name under which the servers know it.
        config: How the client calls.
        fallback: Gives an answer where no server does.
        observers: Hooks.

    Raises:
        RequestError: An address or the name is empty, or an address is given twice.
    """

    def __init__(
        self,
        targets: Union[str, Sequence[str]],
        model_name: str,
        config: ClientConfig,
        fallback: Optional[fallbacks.Fallback],
        observers: Sequence[Observer],
    ) -> None:
        self.targets = (targets,) if isinstance(targets, str) else tuple(targets)
        if not self.targets or not all(self.targets) or len(set(self.targets)) < len(self.targets):
            problem = "is empty, holds an empty address, or one twice"
            raise RequestError("targets", targets, problem, "Give host:port, such as 127.0.0.1:8500, or a list of them")
        if not model_name:
            raise RequestError("model_name", model_name, "is empty", "Give the name under which the model is served")
        self.model_name = model_name
        self.config = config
        self.shared = Shared(self.targets, config, Observers(observers))
        self._fallback = fallback
        self._knowledge = Knowledge()

    def target_status(self) -> list[TargetStatus]:
        """Return the targets as the client sees them."""
        return self.shared.pool.status()

    def items(
        self, signature: str, requests: Requests, options: CallOptions
    ) -> Plan[Union[Recommendations, list[Recommendations]]]:
        """Plan `recommend` or `retrieve`."""
        limit = options.limit
        if limit is not None and limit < 1:
            raise RequestError("limit", limit, "is no number of items", "Give 1 or more, or None for all")
        rows, single = _batch(requests)

        def part(some: Sequence[Mapping[str, Any]], options: CallOptions) -> Plan[list[Recommendations]]:
            return self._predict(
                signature,
                some,
                options,
                lambda answer, latency, attempts: recommendations(answer, limit, latency, attempts),
                lambda place, given, latency, attempts: fallbacks.as_recommendations(given, limit, latency, attempts),
            )

        results: list[Recommendations] = yield from self._split(requests, rows, options, part)
        return results[0] if single else results

    def rank(self, requests: Requests, options: CallOptions) -> Plan[Union[Ranking, list[Ranking]]]:
        """Plan `rank`."""
        rows, single = _batch(requests)

        def part(some: Sequence[Mapping[str, Any]], options: CallOptions) -> Plan[list[Ranking]]:
            candidates = [_candidates(row) for row in some]
            return self._predict(
                names.RANK,
                some,
                options,
                lambda answer, latency, attempts: rankings(answer, candidates, latency, attempts),
                lambda place, given, latency, attempts: fallbacks.as_ranking(
                    given, candidates[place], latency, attempts
                ),
            )

        results: list[Ranking] = yield from self._split(requests, rows, options, part)
        return results[0] if single else results

    def status(self, options: CallOptions) -> Plan[list[VersionStatus]]:
        """Plan `status`."""
        choice = self._choice(options)
        request = messages.GetModelStatusRequest()
        Choice(choice.version, None).fill(request.model_spec, self.model_name)
        payload = yield from self._simple("status", messages.GET_MODEL_STATUS_METHOD, request, choice, options, None)
        state_name = messages.ModelVersionStatus.State.Name
        return [
            VersionStatus(int(one.version), state_name(one.state), int(one.status.error_code), one.status.error_message)
            for one in messages.GetModelStatusResponse.FromString(payload).model_version_status
        ]

    def metadata(self, options: CallOptions) -> Plan[ModelMetadata]:
        """Plan `metadata`."""
        choice = self._choice(options)
        learned: list[ModelMetadata] = []

        def note(target: Target, payload: bytes) -> None:
            learned.append(self._learned(target, choice, payload).metadata)

        request = self._metadata_request(choice)
        method = messages.GET_MODEL_METADATA_METHOD
        yield from self._simple("metadata", method, request, choice, options, note)
        return learned[0]

    def _simple(
        self,
        operation: str,
        method: str,
        request: Any,
        choice: Choice,
        options: CallOptions,
        note: Optional[Callable[[Target, bytes], None]],
    ) -> Plan[bytes]:
        call = self._call(operation, 1, choice, options)
        payload: bytes = request.SerializeToString()

        def prepare(_: Target) -> Plan[bytes]:
            return payload
            yield

        inquiry = Inquiry(call, method, call.started + call.deadline_seconds, prepare, None, options.target)
        with _Told(self.shared.observers, call) as told:
            reply, told.attempts = yield from exchange(self.shared, inquiry)
            if note is not None:
                note(reply.attempt.target, reply.payload)
        answer: bytes = reply.payload
        return answer

    def _split(
        self,
        requests: Requests,
        rows: Sequence[Mapping[str, Any]],
        options: CallOptions,
        part: Callable[[Sequence[Mapping[str, Any]], CallOptions], Plan[list[_Result]]],
    ) -> Plan[Any]:
        traffic = self.config.traffic
        if traffic is None or options.version is not None or options.version_label is not None:
            return (yield from part(rows, options))
        asked = [requests] if isinstance(requests, (Request, Mapping)) else requests
        routed = [
            RoutedRequest(row, one.unit, one.request_id) if isinstance(one, Request) else RoutedRequest(row, None, None)
            for row, one in zip(rows, asked)
        ]
        return (
            yield from split(
                traffic,
                routed,
                lambda places, label: part([rows[place] for place in places], options._replace(version_label=label)),
            )
        )

    def _predict(
        self,
        signature: str,
        rows: Sequence[Mapping[str, Any]],
        options: CallOptions,
        decode: Callable[[Answer, float, int], list[_Result]],
        decode_fallback: Callable[[int, Any, float, int], _Result],
    ) -> Plan[list[_Result]]:
        choice = self._choice(options)
        call = self._call(signature, len(rows), choice, options)
        deadline = call.started + call.deadline_seconds
        inquiry: Inquiry

        used: Optional[Known] = None

        def encode(known: Known) -> bytes:
            nonlocal used
            used = known
            return known.encode(self.model_name, choice, signature, rows)

        fresh: dict[str, Known] = {}

        def prepare(target: Target) -> Plan[bytes]:
            known = fresh.pop(target.address, None) or self._knowledge.get(target.address, choice)
            if known is None:
                return encode((yield from self._learn(inquiry, target, choice)))
            try:
                return encode(known)
            except (RequestError, ContractError):
                # A new version may take what this one does not.
                current = yield from self._learn(inquiry, target, choice)
                if current.same_inputs(known):
                    raise
                return encode(current)

        def mend(reply: Reply) -> Plan[bool]:
            if used is None or reply.attempt.method != messages.PREDICT_METHOD:
                return False
            target = reply.attempt.target
            current = self._knowledge.get(target.address, choice)
            if current is None or current.same_inputs(used):  # else another call has learned it meanwhile
                try:
                    current = yield from self._learn(inquiry, target, choice)
                except AttemptFailed:
                    return False  # the refusal says more than that
            fresh[target.address] = current
            # A refusal of inputs that are the right ones came from a version that has gone again.
            return not current.same_inputs(used) or reply.details.startswith(_WRONG_INPUTS)

        inquiry = Inquiry(call, messages.PREDICT_METHOD, deadline, prepare, mend, options.target)
        with _Told(self.shared.observers, call) as told:
            try:
                reply, told.attempts = yield from exchange(self.shared, inquiry)
            except CallError as error:
                told.attempts = error.attempts
                if self._fallback is None or not fallbacks.applies(error):
                    raise
                given = []
                for row in rows:
                    one = yield Ask(self._fallback, fallbacks.FailedCall(signature, row, options.limit, error))
                    if one is None:
                        raise
                    given.append(one)
                told.fallback = True
                milliseconds = (time.monotonic() - call.started) * 1e3
                return [decode_fallback(place, one, milliseconds, error.attempts) for place, one in enumerate(given)]
            milliseconds = (time.monotonic() - call.started) * 1e3
            answer = Answer(reply.payload, len(rows))
            told.model_version = answer.served_version
            self._knowledge.answered(reply.attempt.target.address, choice, answer.served_version)
            return decode(answer, milliseconds, told.attempts)

    def _learn(self, inquiry: Inquiry, target: Target, choice: Choice) -> Plan[Known]:
        payload = self._metadata_request(choice).SerializeToString()
        attempt = new_attempt(self.shared, inquiry, target, messages.GET_MODEL_METADATA_METHOD, payload)
        reply = yield from send(self.shared, attempt)
        if reply.payload:
            return self._learned(target, choice, reply.payload)
        raise AttemptFailed(reply)

    def _learned(self, target: Target, choice: Choice, payload: bytes) -> Known:
        metadata = parse_metadata(messages.GetModelMetadataResponse.FromString(payload))
        return self._knowledge.learned(target.address, choice, metadata)

    def _metadata_request(self, choice: Choice) -> Any:
        request = messages.GetModelMetadataRequest(metadata_field=[names.SIGNATURE_DEF_FIELD])
        choice.fill(request.model_spec, self.model_name)
        return request

    def _choice(self, options: CallOptions) -> Choice:
        if options.version is None and options.version_label is None:
            return Choice(self.config.version, self.config.version_label)
        try:
            check_choice(options.version, options.version_label)
        except ValueError as error:
            raise RequestError("version", options.version, str(error), "") from error
        return Choice(options.version, options.version_label)

    def _call(self, operation: str, batch: int, choice: Choice, options: CallOptions) -> Call:
        seconds = options.deadline_seconds
        if seconds is None:
            seconds = self.config.deadline_seconds
        elif not 0 < seconds < float("inf"):
            raise RequestError("deadline_seconds", seconds, "is no time", "Give a positive number of seconds")
        return Call(operation, self.model_name, choice, batch, seconds)


class _Told:
    """Tells the hooks of a call's begin and end."""

    def __init__(self, observers: Observers, call: Call) -> None:
        self._observers = observers
        self._call = call
        self.attempts = 0
        self.model_version = 0
        self.fallback = False

    def __enter__(self) -> "_Told":
        if self._observers:
            self._observers.tell(lambda observer: observer.call_started(self._call))
        return self

    def __exit__(self, error_type: Any, error: Optional[BaseException], traceback: Any) -> None:
        if self._observers:
            seconds = time.monotonic() - self._call.started
            attempts = self.attempts or getattr(error, "attempts", 0)
            end = CallEnd(seconds, attempts, self.model_version, self.fallback, error)
            self._observers.tell(lambda observer: observer.call_ended(self._call, end))


def _batch(requests: Requests) -> tuple[list[Mapping[str, Any]], bool]:
    if isinstance(requests, (Request, Mapping)):
        return [as_inputs(requests)], True
    if isinstance(requests, (str, bytes)) or not isinstance(requests, Sequence):
        raise RequestError(
            "requests", requests, f"is {type(requests).__name__}", "Pass a Request, a mapping, or a list"
        )
    if not requests:
        raise RequestError("requests", requests, "is an empty batch", "Give at least one request")
    return [as_inputs(request) for request in requests], False


def _candidates(inputs: Mapping[str, Any]) -> Sequence[str]:
    items = inputs.get(names.CANDIDATE_ITEMS)
    if items is None or isinstance(items, (str, bytes)) or not len(items):
        raise RequestError(names.CANDIDATE_ITEMS, items, "is no list of item ids", "Give the item ids to score")
    listed = items if isinstance(items, (list, tuple)) else list(items)
    if not all(listed):
        for padding in (None, names.PADDING_ITEM):
            if padding in listed:
                raise RequestError(names.CANDIDATE_ITEMS, items, f"holds {padding!r}, which is padding", "Leave it out")
    return listed
