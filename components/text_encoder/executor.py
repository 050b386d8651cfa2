"""Adapts TFX artifacts to the making of text encoders."""

from __future__ import annotations

import posixpath
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.modeling.warm_start import previous_release
from crossrec.components.progress import progress
from crossrec.components.text_encoder.config import TextEncodersConfig
from crossrec.components.text_encoder.fingerprint import fingerprint_of
from crossrec.components.text_encoder.kept import keep
from crossrec.components.text_encoder.make import make_encoder
from crossrec.components.text_encoder.pairs import add_texts
from crossrec.components.text_encoder.texts import TextFiles


class Executor(base_beam_executor.BaseBeamExecutor):
    """Gathers texts and pairs on Beam, then loads or trains each encoder that no release has."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component.

        Args:
            input_dict: ``interactions`` and ``items`` (Examples), perhaps ``previous_model``.
            output_dict: ``text_encoders``.
            exec_properties: ``config``, a TextEncodersConfig as JSON.
        """
        config = TextEncodersConfig.model_validate_json(exec_properties["config"])
        directories = {
            use.encoder.key: posixpath.join(properties.uri(output_dict, "text_encoders"), use.encoder.key)
            for use in config.uses
        }
        previous = previous_release(input_dict)
        wanted = [use for use in config.uses if not keep(previous, use, directories[use.encoder.key])]
        if not wanted:
            return
        interactions = artifact_utils.get_single_instance(input_dict["interactions"])
        items = artifact_utils.get_single_instance(input_dict["items"])
        temporary = posixpath.join(self._get_tmp_dir(), "texts")
        files = {use.encoder.key: TextFiles(posixpath.join(temporary, use.encoder.key)) for use in wanted}
        progress("gathering texts, and which of them belong together")
        with self._make_beam_pipeline() as pipeline:
            # The other splits are for measuring: nothing learns from their texts.
            add_texts(
                pipeline,
                config.model_copy(update={"uses": tuple(wanted)}),
                properties.split_patterns(interactions)["train"],
                properties.split_patterns(items)["train"],
                files,
            )
        for use in wanted:
            directory = directories[use.encoder.key]
            report = make_encoder(use, files[use.encoder.key], directory)
            report.model_copy(update={"models": fingerprint_of([use])}).write(directory)
        fileio.rmtree(temporary)
