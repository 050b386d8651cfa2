"""Adapts TFX artifacts to the making of ranking examples."""

from __future__ import annotations

import posixpath
from typing import Any

import tensorflow_transform as tft
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.ranking_examples.config import RankingExamplesConfig
from crossrec.components.ranking_examples.generate import MakeExamples, Shards, add_examples

_MODELS = ("transform_graphs", "cross_set", "item_table", "retrieval_model", "candidate_index")
_PARTITION_BYTES = 8 * 2**20
"""Compressed rows of a partition, which is held in memory."""


class Executor(base_beam_executor.BaseBeamExecutor):
    """Adds retrieval's scores and candidates to the transformed interactions."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component.

        Args:
            input_dict: ``transformed_interactions``, ``transform_graphs``, ``item_table``,
                ``retrieval_model``, ``candidate_index``.
            output_dict: ``ranking_examples``.
            exec_properties: ``config``, a RankingExamplesConfig as JSON.
        """
        config = RankingExamplesConfig.model_validate_json(exec_properties["config"])
        interactions = artifact_utils.get_single_instance(input_dict["transformed_interactions"])
        examples = artifact_utils.get_single_instance(output_dict["ranking_examples"])
        examples.split_names = interactions.split_names
        patterns = properties.split_patterns(interactions)
        directories = {name: properties.uri(input_dict, name) for name in _MODELS}
        spec = tft.TFTransformOutput(f"{directories['transform_graphs']}/query").transformed_feature_spec()
        size = sum(fileio.open(path, "rb").size() for path in fileio.glob(patterns["train"]))
        outputs = {split: artifact_utils.get_split_uri([examples], split) for split in patterns}
        temporary = posixpath.join(self._get_tmp_dir(), "partitions")
        shards = Shards(outputs, 1 + size // _PARTITION_BYTES, temporary)
        with self._make_beam_pipeline() as pipeline:
            add_examples(pipeline, patterns, MakeExamples(directories, spec, config, shards))
        fileio.rmtree(temporary)
