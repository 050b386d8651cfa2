"""Adapts TFX artifacts to the evaluation."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf
import tensorflow_text  # noqa: F401  # registers the operations that a bundle with text encoders holds
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from crossrec.components import properties
from crossrec.components.blessing import write_blessing
from crossrec.components.candidate_indexer.report import IndexReport
from crossrec.components.evaluation.config import EvaluationConfig, EvaluationRoles
from crossrec.components.evaluation.evaluate import evaluate
from crossrec.components.evaluation.queries import read_queries
from crossrec.components.evaluation.ranking_figures import evaluate_ranking, predict
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.modeling import saving
from crossrec.components.progress import progress
from crossrec.components.ranking_trainer import train as ranking
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.ranking_trainer.executor import ranking_data
from crossrec.components.ranking_trainer.reading import read_rows
from crossrec.components.serving_bundle.requests import fill_vectors

_BATCH = 8192


class Executor(base_executor.BaseExecutor):
    """Measures the bundle and writes report and blessing."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see Evaluation for inputs, outputs and parameters."""
        config = EvaluationConfig.model_validate_json(exec_properties["config"])
        roles = EvaluationRoles.model_validate_json(exec_properties["roles"])
        graphs = properties.uri(input_dict, "transform_graphs")
        schema = FeatureSchema.read(properties.uri(input_dict, "cross_set"))
        table = ItemTable.read(properties.uri(input_dict, "item_table"))
        raw = artifact_utils.get_single_instance(input_dict["interactions"])
        queries = read_queries(properties.split_patterns(raw), schema.raw_query, roles, table.ids, config)
        queries = dataclasses.replace(queries, inputs=fill_vectors(queries.inputs, schema.raw_widths))

        directory = properties.uri(input_dict, "ranking_model")
        ranking_config = saving.read_config(directory, RankingConfig)
        model = ranking.build(schema, ranking_config, table)
        saving.restore(directory, model)
        data = ranking_data(graphs, artifact_utils.get_single_instance(input_dict["ranking_examples"]))
        predicted = predict(model, read_rows(data, "test", ranking_config, _BATCH))
        of_ranking = evaluate_ranking(predicted, ranking_config.tasks, config.k)
        progress(f"asking the bundle {len(queries):,} queries of the test split")
        report = evaluate(
            tf.saved_model.load(properties.uri(input_dict, "bundle")),
            table,
            queries,
            of_ranking,
            config,
            IndexReport.read(properties.uri(input_dict, "candidate_index")),
        )
        report.write(properties.uri(output_dict, "report"))
        failed = [f"{v.metric} is {v.value:.4f}, must be {v.bound}" for v in report.verdicts if not v.passed]
        write_blessing(artifact_utils.get_single_instance(output_dict["blessing"]), report.blessed, "; ".join(failed))
