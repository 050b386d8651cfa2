"""Configuration of a client: frozen, typed, checked when it is made."""

import os
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional, Union

import grpc

from crossrec.serving.contract import names

if TYPE_CHECKING:
    from crossrec.serving.client.traffic import TrafficSplit

Headers = Union[Mapping[str, str], Iterable[tuple[str, str]]]
HeadersSource = Union[Headers, Callable[[], Union[Headers, Awaitable[Headers]]]]
PemSource = Union[bytes, str, "os.PathLike[str]"]

_CODE = grpc.StatusCode
# The same request would get the same answer, or the caller has given it up.
NEVER_RETRIED = frozenset(
    {
        _CODE.OK,
        _CODE.CANCELLED,
        _CODE.INVALID_ARGUMENT,
        _CODE.DEADLINE_EXCEEDED,
        _CODE.FAILED_PRECONDITION,
        _CODE.OUT_OF_RANGE,
        _CODE.UNIMPLEMENTED,
        _CODE.ALREADY_EXISTS,
        _CODE.PERMISSION_DENIED,
        _CODE.UNAUTHENTICATED,
        _CODE.DATA_LOSS,
    }
)
BALANCE_POLICIES = ("power_of_two", "round_robin")


def _positive(owner: str, name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{owner}.{name}={value}: give a positive number of seconds")


@dataclass(frozen=True)
class RetryConfig:
    """When a call is sent again. Every attempt and every pause lies within the call's budget.

    The pause before attempt n + 1 is drawn uniformly from 0 to
    ``min(max_backoff_seconds, initial_backoff_seconds · backoff_multiplier^(n - 1))``.

    Attributes:
        max_attempts: Attempts of a call in all, the first one counted; 1 never retries.
        initial_backoff_seconds: Upper bound of the first pause.
        backoff_multiplier: Growth of that bound from pause to pause.
        max_backoff_seconds: Where the growth ends.
        codes: Status codes after which a call is sent again. All calls only read, so repeating one is safe; what
            decides is whether the next answer can be another one.
        attempt_seconds: Time that one attempt may take, so that a server that hangs leaves time to ask
            another; such an attempt is retried. None gives each attempt all that is left.
        budget_ratio: Retries and hedges per call, over time; together with a reserve of ten it bounds the load
            that retries add when every server fails.

    Raises:
        ValueError: A value is out of its range, or a code must not be retried.
    """

    max_attempts: int = 3
    initial_backoff_seconds: float = 0.01
    backoff_multiplier: float = 2.0
    max_backoff_seconds: float = 0.25
    codes: frozenset[grpc.StatusCode] = frozenset({_CODE.UNAVAILABLE})
    attempt_seconds: Optional[float] = None
    budget_ratio: float = 0.2

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"RetryConfig.max_attempts={self.max_attempts}: give 1 or more")
        _positive("RetryConfig", "initial_backoff_seconds", self.initial_backoff_seconds)
        _positive("RetryConfig", "max_backoff_seconds", self.max_backoff_seconds)
        if not 1 <= self.backoff_multiplier < float("inf"):
            raise ValueError(f"RetryConfig.backoff_multiplier={self.backoff_multiplier}: give 1 or more")
        if self.attempt_seconds is not None:
            _positive("RetryConfig", "attempt_seconds", self.attempt_seconds)
        if not 0 <= self.budget_ratio <= 1:
            raise ValueError(f"RetryConfig.budget_ratio={self.budget_ratio}: give a share between 0 and 1")
        object.__setattr__(self, "codes", frozenset(self.codes))
        for code in self.codes:
            if code in NEVER_RETRIED:
                raise ValueError(
                    f"RetryConfig.codes holds {code.name}: the same request would get the same answer. Leave it out"
                )


@dataclass(frozen=True)
class HedgeConfig:
    """A second copy of a request that is late (Dean and Barroso 2013, The Tail at Scale).

    Attributes:
        delay_seconds: How long the first copy may take before the second one goes to another target; the
            95th percentile of the latency is a good start. The copy that answers first wins, the other is cancelled.

    Raises:
        ValueError: The delay is not positive.
    """

    delay_seconds: float

    def __post_init__(self) -> None:
        _positive("HedgeConfig", "delay_seconds", self.delay_seconds)


@dataclass(frozen=True)
class BalanceConfig:
    """How calls are spread over several targets, and when a target is left out.

    Attributes:
        policy: "power_of_two" draws two targets and takes the one with fewer calls under way (Mitzenmacher
            2001, The Power of Two Choices in Randomized Load Balancing); "round_robin" takes them in turn.
        eject_after: Failures in a row after which a target gets no more calls.
        ejection_seconds: How long at first. Then a copy of a call is sent to it, whose answer nobody waits for; only
            after a good one the target gets calls again. The time doubles with every ejection and failed probe.
        max_ejection_seconds: Where the doubling ends.
        max_ejected_fraction: Share of the targets that may be out at a time; one always stays.

    Raises:
        ValueError: A value is out of its range.
    """

    policy: str = "power_of_two"
    eject_after: int = 3
    ejection_seconds: float = 1.0
    max_ejection_seconds: float = 30.0
    max_ejected_fraction: float = 0.5

    def __post_init__(self) -> None:
        if self.policy not in BALANCE_POLICIES:
            raise ValueError(f"BalanceConfig.policy={self.policy!r}: give one of {', '.join(BALANCE_POLICIES)}")
        if self.eject_after < 1:
            raise ValueError(f"BalanceConfig.eject_after={self.eject_after}: give 1 or more")
        _positive("BalanceConfig", "ejection_seconds", self.ejection_seconds)
        _positive("BalanceConfig", "max_ejection_seconds", self.max_ejection_seconds)
        if not 0 <= self.max_ejected_fraction <= 1:
            raise ValueError(
                f"BalanceConfig.max_ejected_fraction={self.max_ejected_fraction}: give a share between 0 and 1"
            )


@dataclass(frozen=True)
class TlsConfig:
    """An encrypted connection. Each certificate is PEM: its bytes, or the path of its file.

    Attributes:
        root_certificates: Authorities that may have signed the server's certificate; None for gRPC's own list.
        certificate_chain: The client's certificate, for mutual TLS; together with `private_key`.
        private_key: Its key.
        server_name: Name that the server's certificate must bear, where it is not the target's host.

    Raises:
        ValueError: Only one half of the client's certificate is there.
    """

    root_certificates: Optional[PemSource] = None
    certificate_chain: Optional[PemSource] = None
    private_key: Optional[PemSource] = field(default=None, repr=False)
    server_name: Optional[str] = None

    def __post_init__(self) -> None:
        if (self.certificate_chain is None) != (self.private_key is None):
            missing = "private_key" if self.private_key is None else "certificate_chain"
            raise ValueError(f"TlsConfig.{missing}=None: mutual TLS needs certificate_chain and private_key; give both")


@dataclass(frozen=True)
class KeepAliveConfig:
    """Pings that find a connection whose other end is gone without a word.

    Attributes:
        interval_seconds: Time without an answer after which a ping is sent. gRPC servers close a connection on which
            three pings come within five minutes while no data goes over it, so stay above 300 where `idle` is on.
        timeout_seconds: Time to wait for the ping's answer before the connection is given up.
        idle: Ping also while no call is under way.

    Raises:
        ValueError: A time is not positive.
    """

    interval_seconds: float = 10.0
    timeout_seconds: float = 5.0
    idle: bool = False

    def __post_init__(self) -> None:
        _positive("KeepAliveConfig", "interval_seconds", self.interval_seconds)
        _positive("KeepAliveConfig", "timeout_seconds", self.timeout_seconds)


@dataclass(frozen=True)
class ClientConfig:
    """How a client calls.

    Attributes:
        version: Version to ask; None for the server's latest.
        version_label: Version label to ask instead, such as "stable"; not together with `version`.
        deadline_seconds: Time that a call may take in all, retries included, where the call does not say otherwise.
        retry: When a call is sent again.
        hedge: When a second copy is sent; None for never.
        balance: How several targets share the calls.
        tls: Certificates; None for a connection without encryption.
        keep_alive: Pings on the connections.
        headers: gRPC metadata of every call, such as ``{"authorization": "Bearer …"}``; or a callable that gives it
            for each attempt, so that a token can be fresh. The asyncio client also takes a coroutine function.
        traffic: Chooses the version label of each request, as an experiment or a canary asks; not together with
            `version` or `version_label`. A call that names a version or a label itself goes past it.

    Raises:
        ValueError: The values contradict each other.
    """

    version: Optional[int] = None
    version_label: Optional[str] = None
    deadline_seconds: float = names.DEFAULT_DEADLINE_SECONDS
    retry: RetryConfig = RetryConfig()
    hedge: Optional[HedgeConfig] = None
    balance: BalanceConfig = BalanceConfig()
    tls: Optional[TlsConfig] = None
    keep_alive: KeepAliveConfig = KeepAliveConfig()
    headers: HeadersSource = field(default=(), repr=False)
    traffic: "Optional[TrafficSplit]" = None

    def __post_init__(self) -> None:
        check_choice(self.version, self.version_label)
        if self.traffic is not None and (self.version is not None or self.version_label is not None):
            chosen = f"version={self.version}, version_label={self.version_label!r}"
            raise ValueError(f"traffic={self.traffic!r} and {chosen}: give one of them")
        if not 0 < self.deadline_seconds < float("inf"):
            raise ValueError(f"deadline_seconds={self.deadline_seconds}: give a positive number of seconds")


class Choice(NamedTuple):
    """Which version a call asks: one of the two, or neither for the latest."""

    version: Optional[int]
    version_label: Optional[str]

    def fill(self, spec: Any, model_name: str) -> None:
        """Write the choice into a ModelSpec."""
        spec.name = model_name
        if self.version is not None:
            spec.version.value = self.version
        elif self.version_label is not None:
            spec.version_label = self.version_label


def check_choice(version: Optional[int], version_label: Optional[str]) -> None:
    """Check the choice of a version.

    Args:
        version: Version to ask.
        version_label: Label to ask.

    Raises:
        ValueError: Both are given, or one is none.
    """
    if version is not None and version_label is not None:
        raise ValueError(f"version={version} and version_label={version_label!r}: give one of them")
    if version is not None and version < 0:
        raise ValueError(f"version={version}: give a version number of zero or more")
    if version_label is not None and not version_label:
        raise ValueError(f"version_label={version_label!r}: give a label such as 'stable', or None")
