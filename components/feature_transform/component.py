"""The FeatureTransform component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components.artifacts import ItemTable, TransformGraphs
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.feature_transform.executor import Executor
from crossrec.components.specs import make_spec, output_channels

FeatureTransformSpec = make_spec(
    "FeatureTransformSpec",
    inputs={"interactions": standard_artifacts.Examples, "items": standard_artifacts.Examples},
    outputs={
        "transform_graphs": TransformGraphs,
        "item_table": ItemTable,
        "transformed_interactions": standard_artifacts.Examples,
    },
    parameters={"config": str, "code_digest": str},
)


class FeatureTransform(base_beam_component.BaseBeamComponent):
    """Turns raw interactions and items into ids and numbers by one graph per side.

    Outputs: ``transform_graphs`` (the graphs ``query/`` and ``item/``, the item vocabulary, and
    ``features.json`` with names, widths and cardinalities), ``item_table`` (the transformed
    catalogue), ``transformed_interactions`` (tf.Examples per split: query features, item row, labels).
    """

    SPEC_CLASS = FeatureTransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        interactions: types.BaseChannel,
        items: types.BaseChannel,
        config: FeatureTransformConfig,
        code_digest: str,
    ):
        """Constructs the component.

        Args:
            interactions: Examples with splits ``train``, ``validation``, ``test``.
            items: Examples with one row per item, sorted by id, in split ``train``.
            config: Features and roles.
            code_digest: Digest of the code, so that the cache notices a change.
        """
        outputs = output_channels(FeatureTransformSpec)
        super().__init__(
            spec=FeatureTransformSpec(
                interactions=interactions,
                items=items,
                config=config.model_dump_json(),
                code_digest=code_digest,
                **outputs,
            )
        )
