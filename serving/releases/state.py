"""The wanted state: what every replica is to serve, and the operation under way, in one document."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from crossrec.serving.releases.errors import InvalidStateError, UsageError
from crossrec.serving.releases.fleet import Fleet, fleet_from_json, fleet_to_json
from crossrec.serving.releases.release import Release, release_from_json

STABLE = "stable"
CANARY = "canary"
FORMAT = 1

_Value = TypeVar("_Value")


class Kind(str, enum.Enum):
    """What an operation does."""

    CANARY = "canary"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    WITHDRAW = "withdraw"
    PIN = "pin"
    UNPIN = "unpin"


class Phase(str, enum.Enum):
    """How far an operation has come. Each is written down before anything of it is done.

    LOAD: the target is loaded and checked, labels are as before. MOVE: the sets hold the new state, labels move to
    it, everything is still loaded. SETTLE: what is no longer wanted is let go. UNDO: the sets are as before, the
    target is let go.
    """

    LOAD = "load"
    MOVE = "move"
    SETTLE = "settle"
    UNDO = "undo"


@dataclass(frozen=True)
class Canary:
    """A release on trial: label "canary", with a share of the traffic in percent."""

    release: Release
    percent: float


@dataclass(frozen=True)
class Pin:
    """A release whose files stay; and its models too if ``loaded``, so that a rollback to it takes seconds."""

    release: Release
    loaded: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Rejected:
    """A release that was withdrawn or rolled back; it is not released again by mistake."""

    release: Release
    reason: str
    time: str


@dataclass(frozen=True)
class ReleaseSet:
    """Models that move together, and where they stand.

    Attributes:
      models: Names of the models.
      stable: The release with the label "stable"; None before the first.
      canary: The release on trial; without one the label "canary" points at the stable release, so that it always
        answers.
      kept: The release before, which stays loaded.
      former: Earlier stable releases that were good, the latest first.
      pinned: Releases that stay.
      rejected: Releases that failed.
    """

    models: tuple[str, ...]
    stable: Release | None = None
    canary: Canary | None = None
    kept: Release | None = None
    former: tuple[Release, ...] = ()
    pinned: tuple[Pin, ...] = ()
    rejected: tuple[Rejected, ...] = ()

    def loaded(self) -> tuple[Release, ...]:
        """Return the releases that servers keep loaded, each once."""
        wanted = [self.stable, self.canary.release if self.canary else None, self.kept]
        wanted += [pin.release for pin in self.pinned if pin.loaded]
        return tuple(dict.fromkeys(release for release in wanted if release is not None))

    def labels(self) -> dict[str, Release]:
        """Return the release by label; empty before the first stable release."""
        if self.stable is None:
            return {}
        return {STABLE: self.stable, CANARY: self.canary.release if self.canary else self.stable}

    def rejection(self, release: Release) -> Rejected | None:
        """Return why a release was rejected, or None."""
        return next((one for one in self.rejected if one.release == release), None)


@dataclass(frozen=True)
class Operation:
    """An operation under way; whoever finds it after its process has died can finish or undo it.

    Attributes:
      id: Unique.
      kind: What it does.
      set_name: The set that moves.
      source: The release that it moves away from.
      target: The release that it moves to.
      phase: How far it has come.
      holding: Releases that stay loaded until it settles.
      percent: Share of the traffic for a canary.
      loaded: Whether a pin keeps the release loaded.
      actor: Who, as USER@HOST.
      reason: Why.
      started: When, in UTC.
      failure: Why it is undone.
      reject: Whether the target is to blame for that.
      lease_until: Until when its process may be at work, in seconds since the epoch; for stores without a lock.
    """

    id: str
    kind: Kind
    set_name: str
    source: Release | None
    target: Release
    phase: Phase
    holding: tuple[Release, ...] = ()
    percent: float = 0.0
    loaded: bool = False
    actor: str = ""
    reason: str = ""
    started: str = ""
    failure: str = ""
    reject: bool = False
    lease_until: float = 0.0


@dataclass(frozen=True)
class ReleaseState:
    """Everything that is wanted of a fleet.

    Attributes:
      fleet: The servers.
      sets: Set by name.
      operation: The operation under way.
      generation: Grows with every write.
    """

    fleet: Fleet
    sets: Mapping[str, ReleaseSet] = field(default_factory=lambda: MappingProxyType({}))
    operation: Operation | None = None
    generation: int = 0

    def release_set(self, name: str) -> ReleaseSet:
        """Return a set.

        Args:
          name: Its name.

        Returns:
          The set.

        Raises:
          UsageError: If there is none of that name.
        """
        if name not in self.sets:
            known = ", ".join(self.sets) or "none"
            raise UsageError(
                f"--model {name}: no such model or set; the state knows {known}. See `crossrec release configure`"
            )
        return self.sets[name]

    def with_set(self, name: str, changed: ReleaseSet) -> ReleaseState:
        """Return a copy with one set replaced."""
        return dataclasses.replace(self, sets={**self.sets, name: changed})


def state_to_text(state: ReleaseState) -> str:
    """Write a state as JSON.

    Args:
      state: The state.

    Returns:
      Indented JSON, with a newline at its end.
    """
    document = {
        "format": FORMAT,
        "generation": state.generation,
        "fleet": fleet_to_json(state.fleet),
        "sets": {name: _to_json(one) for name, one in state.sets.items()},
        "operation": _to_json(state.operation),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def state_from_text(text: str, place: str) -> ReleaseState:
    """Read a state.

    Args:
      text: What `state_to_text` made.
      place: Where it lies, for the error.

    Returns:
      The state.

    Raises:
      InvalidStateError: If it is no state, or one of a later format; the message names place, field and value.
    """
    try:
        document = json.loads(text)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            found = document.get("format") if isinstance(document, dict) else document
            raise InvalidStateError(f"format: {found!r} instead of {FORMAT}; use the crossrec that wrote it")
        return ReleaseState(
            fleet=fleet_from_json(document["fleet"]),
            sets={name: _set_from_json(one, f"sets.{name}") for name, one in document["sets"].items()},
            operation=_optional(document["operation"], _operation_from_json),
            generation=int(document["generation"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, UsageError, InvalidStateError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InvalidStateError(
            f"{place}: is no release state: {what}; restore it from a copy (`crossrec release history` tells what was "
            "released), or move it away and run `crossrec release configure` again"
        ) from error


def _to_json(value: Any) -> Any:
    if isinstance(value, Release):
        return value.by_model()
    if dataclasses.is_dataclass(value):
        return {one.name: _to_json(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_to_json(one) for one in value]
    return value.value if isinstance(value, enum.Enum) else value


def _set_from_json(value: Any, path: str) -> ReleaseSet:
    return ReleaseSet(
        models=tuple(value["models"]),
        stable=_optional(value["stable"], lambda one: release_from_json(one, f"{path}.stable")),
        canary=_optional(
            value["canary"],
            lambda one: Canary(release_from_json(one["release"], f"{path}.canary"), float(one["percent"])),
        ),
        kept=_optional(value["kept"], lambda one: release_from_json(one, f"{path}.kept")),
        former=tuple(release_from_json(one, f"{path}.former") for one in value["former"]),
        pinned=tuple(
            Pin(release_from_json(one["release"], f"{path}.pinned"), bool(one["loaded"]), str(one["reason"]))
            for one in value["pinned"]
        ),
        rejected=tuple(
            Rejected(release_from_json(one["release"], f"{path}.rejected"), str(one["reason"]), str(one["time"]))
            for one in value["rejected"]
        ),
    )


def _operation_from_json(value: Any) -> Operation:
    return Operation(
        **{
            **value,
            "kind": Kind(value["kind"]),
            "phase": Phase(value["phase"]),
            "source": _optional(value["source"], lambda one: release_from_json(one, "operation.source")),
            "target": release_from_json(value["target"], "operation.target"),
            "holding": tuple(release_from_json(one, "operation.holding") for one in value["holding"]),
        }
    )


def _optional(value: Any, read: Callable[[Any], _Value]) -> _Value | None:
    return None if value is None else read(value)
