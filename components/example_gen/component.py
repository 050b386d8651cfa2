"""The two TFX components that read the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Union

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import channel, component_spec, standard_artifacts

from crossrec.components.example_gen.config import DataConfig, ItemsTable, RawColumn
from crossrec.components.example_gen.executor import (
    InteractionsExampleGenExecutor,
    ItemsExampleGenExecutor,
)

Text = Union[str, data_types.RuntimeParameter]

_PARAMETERS: dict[str, Any] = {
    "data_dir": component_spec.ExecutionParameter(type=str),
    "config": component_spec.ExecutionParameter(type=str),
    "columns": component_spec.ExecutionParameter(type=str),
    "input_fingerprint": component_spec.ExecutionParameter(type=str),
    "until": component_spec.ExecutionParameter(type=str, optional=True),
}


class ItemsExampleGenSpec(component_spec.ComponentSpec):
    """Specification of `ItemsExampleGen`."""

    PARAMETERS = _PARAMETERS
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class InteractionsExampleGenSpec(component_spec.ComponentSpec):
    """Specification of `InteractionsExampleGen`."""

    PARAMETERS = {**_PARAMETERS, "since": component_spec.ExecutionParameter(type=str, optional=True)}
    INPUTS = {"items": component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class ItemsExampleGen(base_beam_component.BaseBeamComponent):
    """Reads the item catalogue, checks it, and writes one tf.Example per item, sorted by id.

    The output ``examples`` has one split, ``train``.
    """

    SPEC_CLASS = ItemsExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(ItemsExampleGenExecutor)

    def __init__(
        self,
        data_dir: Text,
        config: ItemsTable,
        columns: Sequence[RawColumn] = (),
        input_fingerprint: Text = "",
    ) -> None:
        """Declare the component.

        Its property ``until``, which a runner may set, is the last day or span of snapshots; see `pin`.

        Args:
            data_dir: The directory that relative paths start from.
            config: The ``data.items`` part of the spec.
            columns: Columns of the items that features need.
            input_fingerprint: What changes when the result must be computed anew; see `files.fingerprint`.
        """
        super().__init__(
            spec=ItemsExampleGenSpec(
                data_dir=data_dir,
                config=config.model_dump_json(),
                columns=_columns_json(columns),
                input_fingerprint=input_fingerprint,
                until="",
                examples=channel.Channel(type=standard_artifacts.Examples),
            )
        )


class InteractionsExampleGen(base_beam_component.BaseBeamComponent):
    """Reads the interactions, checks them, adds each user's recent items, and divides them by time.

    The output ``examples`` has the splits ``train``, ``validation`` and ``test``.
    """

    SPEC_CLASS = InteractionsExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(InteractionsExampleGenExecutor)

    def __init__(
        self,
        items: channel.BaseChannel,
        data_dir: Text,
        config: DataConfig,
        columns: Sequence[RawColumn] = (),
        input_fingerprint: Text = "",
    ) -> None:
        """Declare the component.

        Its properties ``since`` and ``until``, which a runner may set, change the window; see `pin`.

        Args:
            items: Channel of the item catalogue's Examples, from `ItemsExampleGen`.
            data_dir: The directory that relative paths start from.
            config: The ``data`` part of the spec.
            columns: Columns of the interactions that features need.
            input_fingerprint: What changes when the result must be computed anew; see `files.fingerprint`.
        """
        super().__init__(
            spec=InteractionsExampleGenSpec(
                items=items,
                data_dir=data_dir,
                config=config.model_dump_json(),
                columns=_columns_json(columns),
                input_fingerprint=input_fingerprint,
                since="",
                until="",
                examples=channel.Channel(type=standard_artifacts.Examples),
            )
        )


def _columns_json(columns: Sequence[RawColumn]) -> str:
    return json.dumps([column.model_dump() for column in columns])
