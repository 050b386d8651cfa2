"""Where a set stands after an operation: pure functions, so that whoever takes an operation up gets the same."""

from __future__ import annotations

import dataclasses
import datetime

from crossrec.serving.releases.release import Release
from crossrec.serving.releases.state import Canary, Kind, Operation, Pin, Rejected, ReleaseSet

_FORMER = 20


def committed(one: ReleaseSet, operation: Operation, keep_previous: bool) -> ReleaseSet:
    """Compute where a set stands after an operation.

    Args:
      one: The set before.
      operation: What is done.
      keep_previous: Whether the former stable release stays loaded.

    Returns:
      The set after.
    """
    target = operation.target
    if operation.kind is Kind.CANARY:
        return _accepting(dataclasses.replace(one, canary=Canary(target, operation.percent)), target)
    if operation.kind is Kind.WITHDRAW:
        without = dataclasses.replace(one, canary=None)
        return rejecting(without, operation.target, operation.failure or operation.reason)
    if operation.kind in (Kind.PIN, Kind.UNPIN):
        pinned = tuple(pin for pin in one.pinned if pin.release != target)
        if operation.kind is Kind.PIN:
            pinned += (Pin(target, operation.loaded, operation.reason),)
        return dataclasses.replace(one, pinned=pinned)
    if operation.kind is Kind.PROMOTE:
        former = tuple(release for release in one.former if release != target)
        if one.stable is not None:
            former = (one.stable, *former)[:_FORMER]
        kept = one.stable if keep_previous else None
        return _accepting(dataclasses.replace(one, stable=target, canary=None, kept=kept, former=former), target)
    return _rolled_back(one, target, operation.reason)


def rejecting(one: ReleaseSet, release: Release, reason: str) -> ReleaseSet:
    """Note that a release failed.

    Args:
      one: The set.
      release: The release.
      reason: Why.

    Returns:
      The set with the note, which replaces an earlier one.
    """
    others = tuple(rejected for rejected in one.rejected if rejected.release != release)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return dataclasses.replace(one, rejected=(*others, Rejected(release, reason, now)))


def _accepting(one: ReleaseSet, release: Release) -> ReleaseSet:
    rejected = tuple(rejected for rejected in one.rejected if rejected.release != release)
    return dataclasses.replace(one, rejected=rejected)


def _rolled_back(one: ReleaseSet, target: Release, reason: str) -> ReleaseSet:
    # What was released after the target was not good: the next rollback goes further back.
    behind = one.former.index(target) + 1 if target in one.former else 0
    back = dataclasses.replace(one, stable=target, canary=None, kept=None, former=one.former[behind:])
    for failed in (one.stable, one.canary.release if one.canary else None):
        if failed is not None and failed != target:
            back = rejecting(back, failed, reason)
    return _accepting(back, target)
