"""Which versions are wanted, and what to do next to get there."""

import enum
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

_LOG = logging.getLogger(__name__)

VersionPolicy = Callable[[Mapping[int, Path]], Mapping[int, Path]]


class State(enum.IntEnum):
    """State of a version; the numbers are those of ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Action(enum.Enum):
    """What the manager can do with a version."""

    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True)
class VersionView:
    """What a policy needs to know of a version."""

    version: int
    state: State
    aspired: bool


def latest(count: int) -> VersionPolicy:
    """Make the policy that wants the highest versions.

    Args:
        count: How many; 0 counts as 1.

    Returns:
        A version policy.
    """

    def choose(versions: Mapping[int, Path]) -> Mapping[int, Path]:
        return {version: versions[version] for version in sorted(versions, reverse=True)[: max(count, 1)]}

    return choose


def all_versions() -> VersionPolicy:
    """Make the policy that wants every version.

    Returns:
        A version policy.
    """
    return dict


def specific(numbers: Iterable[int]) -> VersionPolicy:
    """Make the policy that wants the named versions.

    Args:
        numbers: Version numbers. One that does not exist only warns.

    Returns:
        A version policy.
    """
    wanted = frozenset(numbers)
    warned: set[int] = set()

    def choose(versions: Mapping[int, Path]) -> Mapping[int, Path]:
        missing = wanted - set(versions)
        for version in sorted(missing - warned):
            _LOG.warning("Version %d, requested as a 'specific' version, was not found in the file system", version)
        warned.clear()
        warned.update(missing)
        return {version: path for version, path in versions.items() if version in wanted}

    return choose


def next_action(versions: Iterable[VersionView]) -> Optional[tuple[Action, int]]:
    """Choose the next step that keeps a model available: load what is wanted before unloading what is not.

    Args:
        versions: All versions of one model.

    Returns:
        The action and the version; None where there is nothing to do now.
    """
    views = list(versions)
    aspired = [view for view in views if view.aspired]
    unwanted = [view.version for view in views if not view.aspired and view.state is State.AVAILABLE]
    replaced = not aspired or any(view.state is State.AVAILABLE for view in aspired) or len(unwanted) > 1
    if unwanted and replaced:
        return Action.UNLOAD, min(unwanted)
    new = [view.version for view in aspired if view.state is State.START]
    return (Action.LOAD, max(new)) if new else None
