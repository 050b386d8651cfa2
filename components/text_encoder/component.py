"""The TextEncoder component."""

from __future__ import annotations

from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components.artifacts import PreviousModel, TextEncoders
from crossrec.components.specs import make_spec, output_channels
from crossrec.components.text_encoder.config import TextEncodersConfig
from crossrec.components.text_encoder.executor import Executor

TextEncoderSpec = make_spec(
    "TextEncoderSpec",
    inputs={
        "interactions": standard_artifacts.Examples,
        "items": standard_artifacts.Examples,
        "previous_model": PreviousModel,
    },
    outputs={"text_encoders": TextEncoders},
    parameters={"config": str, "code_digest": str, "model_digest": str},
    optional=("previous_model",),
)


class TextEncoder(base_beam_component.BaseBeamComponent):
    """Loads or trains the language models of the text features, or keeps those of a release."""

    SPEC_CLASS = TextEncoderSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        channels: Mapping[str, types.BaseChannel],
        config: TextEncodersConfig,
        code_digest: str,
        model_digest: str = "",
    ):
        """Constructs the component.

        Args:
            channels: ``interactions`` and ``items``, raw Examples; pairs are of the training split. Perhaps
                ``previous_model``, the release whose encoders are kept.
            config: The encoders.
            code_digest: Digest of the code, so that the cache notices a change.
            model_digest: As from ``fingerprint_of``, so that the cache notices another pretrained model.
        """
        outputs = output_channels(TextEncoderSpec)
        super().__init__(
            spec=TextEncoderSpec(
                **channels,
                config=config.model_dump_json(),
                code_digest=code_digest,
                model_digest=model_digest,
                **outputs,
            )
        )
