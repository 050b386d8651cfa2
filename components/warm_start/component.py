"""The PreviousModel component."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Union

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import standard_artifacts

from crossrec.components import artifacts
from crossrec.components.specs import make_spec, output_channels
from crossrec.components.warm_start.config import WarmStartConfig
from crossrec.components.warm_start.executor import Executor

Text = Union[str, data_types.RuntimeParameter]

PreviousModelSpec = make_spec(
    "PreviousModelSpec",
    inputs={"interactions": standard_artifacts.Examples},
    outputs={"previous_model": artifacts.PreviousModel},
    parameters={"config": str, "serving_root": str, "model_name": str, "known": str},
)


class PreviousModel(base_component.BaseComponent):
    """Looks up the last release that was made of other data, and of earlier ones, for the trainers to start from.

    TFX's resolvers do the like on the local runner only; this runs wherever its executor can read the serving root.
    """

    SPEC_CLASS = PreviousModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        interactions: types.BaseChannel,
        config: WarmStartConfig,
        serving_root: Text,
        model_name: Text,
        known: Sequence[int] | None = None,
    ):
        """Constructs the component.

        Args:
            interactions: Channel of this run's interactions, from ``InteractionsExampleGen``.
            config: Which release is wanted.
            serving_root: Directory that holds the model directories.
            model_name: Name that clients ask for.
            known: Releases of other data when the graph was built: they are part of the cache key, so that a new
                one is noticed. None looks at those that there are when the node runs, and the cache does not notice.
        """
        super().__init__(
            spec=PreviousModelSpec(
                interactions=interactions,
                config=config.model_dump_json(),
                serving_root=serving_root,
                model_name=model_name,
                known="" if known is None else json.dumps(list(known)),
                **output_channels(PreviousModelSpec),
            )
        )
