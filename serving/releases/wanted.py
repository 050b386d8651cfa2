"""From the state to what each server is told: versions, labels, models.config, shares of the traffic."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format

from crossrec.serving.contract.messages import ModelServerConfig
from crossrec.serving.releases.errors import UsageError
from crossrec.serving.releases.fleet import Fleet
from crossrec.serving.releases.state import CANARY, STABLE, Phase, ReleaseState

PLATFORM = "tensorflow"
_HEADER = """\
# Written by `crossrec release`, which overwrites it: change nothing by hand.
# generation {generation}
"""
_LABELS_NOTE = "# Start servers with --allow_version_labels_for_unavailable_models: the labels below need it.\n"


@dataclass(frozen=True)
class WantedModel:
    """What a server is to do with a model.

    Attributes:
      versions: Versions to have loaded, ascending.
      labels: Version by label; each version is among `versions`.
    """

    versions: tuple[int, ...]
    labels: Mapping[str, int]


def wanted_models(state: ReleaseState) -> dict[str, WantedModel]:
    """Compute what every server is to serve now.

    Args:
      state: The state, with an operation in any phase.

    Returns:
      What is wanted by model name; models of sets that have nothing to serve yet are left out.
    """
    wanted = {}
    operation = state.operation
    for name, one in state.sets.items():
        releases = list(one.loaded())
        if operation is not None and operation.set_name == name and operation.phase in (Phase.LOAD, Phase.MOVE):
            releases += operation.holding
        if not releases:
            continue
        labels = one.labels()
        for model in one.models:
            wanted[model] = WantedModel(
                tuple(sorted({release.by_model()[model] for release in releases})),
                {label: release.by_model()[model] for label, release in labels.items()},
            )
    return wanted


def model_server_config(wanted: Mapping[str, WantedModel], fleet: Fleet) -> Any:
    """Build the configuration of a server.

    Args:
      wanted: What is wanted by model name.
      fleet: The fleet: its root and its other models.

    Returns:
      ModelServerConfig.
    """
    config = parse_other_models(fleet.other_models)
    for name, one in sorted(wanted.items()):
        model = config.model_config_list.config.add(
            name=name, base_path=f"{fleet.server_root.rstrip('/')}/{name}", model_platform=PLATFORM
        )
        model.model_version_policy.specific.versions.extend(one.versions)
        for label, version in sorted(one.labels.items()):
            model.version_labels[label] = version
    return config


def parse_other_models(text: str) -> Any:
    """Read the models that the servers serve beside the sets.

    Args:
      text: Text of a models.config; may be empty.

    Returns:
      ModelServerConfig with a list of models.

    Raises:
      UsageError: If it is no such text.
    """
    config = ModelServerConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise UsageError(f"fleet.other_models: is no text of a models.config: {error}; correct that line") from error
    if config.WhichOneof("config") not in (None, "model_config_list"):
        raise UsageError("fleet.other_models: holds no model_config_list; give the list of the other models")
    return config


def models_config_text(state: ReleaseState) -> str:
    """Write models.config for servers that start, or that poll it.

    Args:
      state: The state.

    Returns:
      A model server configuration in protocol buffers' text format.
    """
    operation = state.operation
    if operation is not None and operation.phase is Phase.LOAD and not state.fleet.file_polled:
        state = dataclasses.replace(state, operation=None)
    wanted = wanted_models(state)
    if not state.fleet.labels_in_file:
        wanted = {name: WantedModel(one.versions, {}) for name, one in wanted.items()}
    header = _HEADER.format(generation=state.generation)
    if any(one.labels for one in wanted.values()):
        header += _LABELS_NOTE
    return header + text_format.MessageToString(model_server_config(wanted, state.fleet))


def traffic(state: ReleaseState) -> dict[str, dict[str, float]]:
    """Compute how clients are to split their requests between the labels.

    Args:
      state: The state.

    Returns:
      Percent by label, by model name; the shares of a model sum to 100.
    """
    shares = {}
    for one in state.sets.values():
        if one.stable is not None:
            percent = one.canary.percent if one.canary else 0.0
            for model in one.models:
                shares[model] = {STABLE: 100.0 - percent, CANARY: percent}
    return shares
