"""Adapts TFX artifacts to the feature transform."""

from __future__ import annotations

import json
import posixpath
from typing import Any

import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.feature_transform import catalogue, transform
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.feature_transform.hash_sizes import with_hash_sizes
from crossrec.components.features import preprocessing
from crossrec.components.features.config import Categorical
from crossrec.components.features.schema import build_schema
from crossrec.components.progress import progress


class Executor(base_beam_executor.BaseBeamExecutor):
    """Analyses and transforms the interactions, transforms the catalogue, counts."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component.

        Args:
            input_dict: ``interactions`` and ``items`` (Examples).
            output_dict: ``transform_graphs``, ``item_table`` and ``transformed_interactions``.
            exec_properties: ``config``, a FeatureTransformConfig as JSON.
        """
        config = FeatureTransformConfig.model_validate_json(exec_properties["config"])
        interactions = artifact_utils.get_single_instance(input_dict["interactions"])
        items = artifact_utils.get_single_instance(input_dict["items"])
        graphs = artifact_utils.get_single_instance(output_dict["transform_graphs"])
        table_artifact = artifact_utils.get_single_instance(output_dict["item_table"])
        transformed = artifact_utils.get_single_instance(output_dict["transformed_interactions"])
        splits = artifact_utils.decode_split_names(interactions.split_names)
        transformed.split_names = interactions.split_names

        out = transform.TransformPaths(
            graphs=graphs.uri,
            examples={split: artifact_utils.get_split_uri([transformed], split) for split in splits},
            temporary=self._get_tmp_dir(),
        )
        item_pattern = f"{artifact_utils.get_split_uri([items], 'train')}/*"
        item_ids = catalogue.read_item_columns(item_pattern, [config.item_column])[config.item_column]
        catalogue.write_item_vocabulary(item_ids, out.vocabulary)
        patterns = {split: f"{artifact_utils.get_split_uri([interactions], split)}/*" for split in splits}
        features = with_hash_sizes(
            config.features,
            {"query": patterns["train"], "item": item_pattern},
            self._make_beam_pipeline,
            posixpath.join(out.temporary, "distinct"),
        )
        config = config.model_copy(update={"features": features})
        progress(f"{len(item_ids):,} items; analysing and transforming the interactions")
        with (
            self._make_beam_pipeline() as pipeline,
            tft_beam.Context(temp_dir=out.temporary, use_deep_copy_optimization=True),
        ):
            transform.add_analysis(pipeline, config, patterns["train"], item_pattern, out)
        with self._make_beam_pipeline() as pipeline:
            transform.add_examples(pipeline, config, patterns, out)

        graph = {side: tft.TFTransformOutput(f"{graphs.uri}/{side}") for side in ("query", "item")}
        cardinalities = {}
        for name, side, feature in config.features.items():
            vocabulary = None
            if isinstance(feature, Categorical) and feature.hash_buckets is None:
                vocabulary = graph[side].vocabulary_size_by_name(name)
            cardinalities[name] = preprocessing.cardinality(feature, vocabulary, len(item_ids))
        table = catalogue.build_item_table(config, item_pattern, f"{graphs.uri}/item", transform.read_counts(out))
        table.write(table_artifact.uri)
        encoded_by = json.loads(items.get_string_custom_property(properties.ENCODED_BY) or "{}")
        described = (config.item_column, table.items)
        build_schema(config.features, cardinalities, described, config.labels, encoded_by).write(graphs.uri)
