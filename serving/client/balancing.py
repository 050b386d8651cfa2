"""Which target gets a call, and which gets none for a while. State only: nothing here sends or waits."""

import math
import random
import threading
from collections.abc import Sequence
from typing import NamedTuple, Optional

import grpc

from crossrec.serving.client.config import BalanceConfig
from crossrec.serving.client.errors import RequestError
from crossrec.serving.client.policy import ejection_seconds

_CODE = grpc.StatusCode
# What speaks against the server; the other codes speak against the request.
TARGET_FAILURES = frozenset(
    {_CODE.UNAVAILABLE, _CODE.DEADLINE_EXCEEDED, _CODE.RESOURCE_EXHAUSTED, _CODE.INTERNAL, _CODE.UNKNOWN}
)


class Target:
    """One address with what is known of its health. Guarded by its pool's lock."""

    __slots__ = ("address", "ejected_until", "ejections", "failures", "good", "in_flight", "on_probation", "probing")

    def __init__(self, address: str) -> None:
        self.address = address
        self.in_flight = 0
        self.failures = 0  # in a row
        self.good = 0  # in a row since it came back
        self.ejections = 0
        self.ejected_until: Optional[float] = None
        self.probing = False
        self.on_probation = False


class TargetStatus(NamedTuple):
    """A target as the client sees it.

    Attributes:
        address: Its address.
        in_flight: Calls under way.
        ejected: Whether it gets no calls.
        ejections: Ejections and failed probes since it was last well.
    """

    address: str
    in_flight: int
    ejected: bool
    ejections: int


class TargetPool:
    """Chooses targets and watches them.

    Args:
        addresses: The targets, at least one.
        config: Policy and ejection.
        source: Random numbers.
    """

    def __init__(self, addresses: Sequence[str], config: BalanceConfig, source: random.Random) -> None:
        self.targets = tuple(Target(address) for address in addresses)
        self._config = config
        self._random = source
        self._lock = threading.Lock()
        self._turn = 0
        self._ejected = 0
        count = len(self.targets)
        self._may_be_ejected = min(count - 1, math.ceil(count * config.max_ejected_fraction))

    def acquire(self, avoid: Sequence[Target] = (), only: Optional[str] = None) -> Target:
        """Choose the target of an attempt and count it as under way.

        Args:
            avoid: Targets that this call has tried; taken only where there is no other.
            only: Address that must be taken.

        Returns:
            The target; `release` or `abandon` ends what begins here.

        Raises:
            RequestError: No target has the address `only`.
        """
        with self._lock:
            target = self.targets[0] if len(self.targets) == 1 and only is None else self._choose(avoid, only)
            target.in_flight += 1
            return target

    def abandon(self, target: Target) -> None:
        """End an attempt that says nothing about the target, such as a cancelled one."""
        with self._lock:
            target.in_flight -= 1

    def release(self, target: Target, failed: bool, now: float) -> Optional[bool]:
        """End an attempt.

        Args:
            target: As `acquire` returned it.
            failed: Whether the end speaks against the target.
            now: Monotonic time in seconds.

        Returns:
            True where this ejects the target, else None.
        """
        with self._lock:
            target.in_flight -= 1
            if not failed:
                target.failures = 0
                target.on_probation = False
                if target.ejections and target.ejected_until is None:
                    target.good += 1
                    if target.good >= self._config.eject_after:
                        target.ejections = 0
                return None
            target.failures += 1
            target.good = 0
            enough = target.on_probation or target.failures >= self._config.eject_after
            if target.ejected_until is not None or not enough or self._ejected >= self._may_be_ejected:
                return None
            self._ejected += 1
            target.on_probation = False
            self._set_out(target, now)
            return True

    def due_probe(self, now: float) -> Optional[Target]:
        """Return an ejected target whose time is over; `probed` must follow.

        Args:
            now: Monotonic time in seconds.
        """
        if not self._ejected:
            return None
        with self._lock:
            for target in self.targets:
                if target.ejected_until is not None and target.ejected_until <= now and not target.probing:
                    target.probing = True
                    return target
        return None

    def probed(self, target: Target, healthy: Optional[bool], now: float) -> Optional[bool]:
        """Note how a probe ended.

        Args:
            target: As `due_probe` returned it.
            healthy: Whether the target did its work; None where the probe was given up.
            now: Monotonic time in seconds.

        Returns:
            False where the target gets calls again, on probation: one failure ejects it; else None.
        """
        with self._lock:
            target.probing = False
            if target.ejected_until is None or healthy is None:
                return None
            if not healthy:
                self._set_out(target, now)
                return None
            self._ejected -= 1
            target.ejected_until = None
            target.failures = target.good = 0
            target.on_probation = True
            return False

    def status(self) -> list[TargetStatus]:
        """Return a snapshot of all targets."""
        with self._lock:
            return [
                TargetStatus(one.address, one.in_flight, one.ejected_until is not None, one.ejections)
                for one in self.targets
            ]

    def _set_out(self, target: Target, now: float) -> None:
        target.ejections += 1
        target.failures = target.good = 0
        target.ejected_until = now + ejection_seconds(self._config, target.ejections, self._random.random())

    def _choose(self, avoid: Sequence[Target], only: Optional[str]) -> Target:
        if only is not None:
            for target in self.targets:
                if target.address == only:
                    return target
            known = ", ".join(target.address for target in self.targets)
            raise RequestError("target", only, "is none of the client's targets", f"Give one of {known}")
        healthy = [target for target in self.targets if target.ejected_until is None]
        candidates = [target for target in healthy if target not in avoid] or healthy
        if len(candidates) == 1:
            return candidates[0]
        if self._config.policy == "round_robin":
            self._turn += 1
            return candidates[self._turn % len(candidates)]
        one, other = self._random.sample(candidates, 2)
        return other if other.in_flight < one.in_flight else one
