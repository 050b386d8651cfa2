"""The first state of a fleet, and changes of what it says about servers, limits and sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from crossrec.serving.releases.commands import unfinished
from crossrec.serving.releases.context import Context
from crossrec.serving.releases.errors import ConflictError, UsageError
from crossrec.serving.releases.fleet import Fleet
from crossrec.serving.releases.state import ReleaseSet, ReleaseState
from crossrec.serving.releases.versions import list_versions
from crossrec.serving.releases.wanted import parse_other_models


def configure(
    context: Context,
    sets: Mapping[str, Sequence[str]],
    fleet_changes: Mapping[str, Any],
    limit_changes: Mapping[str, Any],
) -> ReleaseState:
    """Make the state, or change it. What is not named stays as it is.

    Args:
      context: Where and by whom.
      sets: Models by name of the set. Without any, and without a state, every model that has a version becomes a set
        of its own.
      fleet_changes: New values of fields of `Fleet`.
      limit_changes: New values of fields of `Limits`.

    Returns:
      The state as written.

    Raises:
      UsageError: If a value is wrong.
      ConflictError: If somebody else is at work.
    """
    with context.store.exclusive("configuring"):
        state = context.store.read()
        if state is not None and state.operation is not None:
            raise ConflictError(unfinished(context, state.operation))
        if state is None:
            state = ReleaseState(Fleet(server_root=str(context.serving_root)))
            sets = sets or {name: [name] for name in _models_with_versions(context)}
        fleet = dataclasses.replace(state.fleet, **fleet_changes)
        fleet = dataclasses.replace(fleet, limits=dataclasses.replace(fleet.limits, **limit_changes))
        other = {model.name for model in parse_other_models(fleet.other_models).model_config_list.config}
        merged = _merge(state, sets, other)
        if not fleet.keep_previous:
            merged = {name: dataclasses.replace(one, kept=None) for name, one in merged.items()}
        context.ledger.append(
            {
                "event": "configured",
                "kind": "configure",
                "by": context.actor,
                "sets": {name: list(models) for name, models in sets.items()},
                "changes": {**{key: _plain(value) for key, value in fleet_changes.items()}, **limit_changes},
            }
        )
        context.on_step("recorded")
        written = context.store.write(dataclasses.replace(state, fleet=fleet, sets=merged))
        context.on_step("written")
        context.store.show(written)
        context.on_step("shown")
        return written


def _merge(state: ReleaseState, sets: Mapping[str, Sequence[str]], other: set[str]) -> dict[str, ReleaseSet]:
    merged = dict(state.sets)
    for name, models in sets.items():
        known = merged.get(name)
        if known is not None and set(known.models) != set(models) and known.loaded():
            raise UsageError(
                f"--set {name}: serves {', '.join(known.models)} already, and its releases name just these; "
                "choose another name"
            )
        if not models or len(set(models)) != len(models):
            raise UsageError(f"--set {name}={','.join(models)}: is empty or names a model twice; give NAME=MODEL,MODEL")
        if known is None or set(known.models) != set(models):
            merged[name] = ReleaseSet(tuple(models))
    owners: dict[str, str] = {}
    for name, one in merged.items():
        for model in one.models:
            if model in owners or model in other:
                rival = owners.get(model, "fleet.other_models")
                raise UsageError(f"--set {name}: model {model} belongs to {rival} already; a model is in one set only")
            owners[model] = name
    return merged


def _models_with_versions(context: Context) -> list[str]:
    if not context.serving_root.is_dir():
        raise UsageError(f"{context.serving_root}: is no directory; publish a model first, or correct the path")
    found = [
        path.name
        for path in sorted(context.serving_root.iterdir())
        if path.is_dir() and not path.name.startswith(".") and list_versions(path)
    ]
    if not found:
        raise UsageError(f"{context.serving_root}: holds no model with a version; publish one first, or name --set")
    return found


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
