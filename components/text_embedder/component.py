"""The TextEmbedder component."""

from __future__ import annotations

from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components.artifacts import PreviousModel, TextEmbeddings, TextEncoders
from crossrec.components.specs import make_spec, output_channels
from crossrec.components.text_embedder.config import TextEmbedderConfig
from crossrec.components.text_embedder.executor import Executor

TextEmbedderSpec = make_spec(
    "TextEmbedderSpec",
    inputs={
        "interactions": standard_artifacts.Examples,
        "items": standard_artifacts.Examples,
        "text_encoders": TextEncoders,
        "previous_model": PreviousModel,
    },
    outputs={
        "embedded_interactions": standard_artifacts.Examples,
        "embedded_items": standard_artifacts.Examples,
        "text_embeddings": TextEmbeddings,
    },
    parameters={"config": str, "cache_root": str, "code_digest": str},
    optional=("previous_model",),
)


class TextEmbedder(base_beam_component.BaseBeamComponent):
    """Embeds each different text once, and adds the vectors, or their clusters, to the examples.

    Outputs: ``embedded_interactions`` and ``embedded_items``, the examples with columns added, in the same order and
    the same files; ``text_embeddings`` (``<encoder>/centroids_<clusters>.npy``, and a report).
    """

    SPEC_CLASS = TextEmbedderSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self, channels: Mapping[str, types.BaseChannel], config: TextEmbedderConfig, cache_root: str, code_digest: str
    ):
        """Constructs the component.

        Args:
            channels: ``interactions``, ``items`` (both raw) and ``text_encoders``; perhaps ``previous_model``, the
                release whose clusters are kept where the encoder is the same.
            config: The columns to add.
            cache_root: Directory that outlives runs, for vectors of texts; reachable by all workers.
            code_digest: Digest of the code, so that the cache of runs notices a change.
        """
        outputs = output_channels(TextEmbedderSpec)
        super().__init__(
            spec=TextEmbedderSpec(
                **channels,
                config=config.model_dump_json(),
                cache_root=cache_root,
                code_digest=code_digest,
                **outputs,
            )
        )
