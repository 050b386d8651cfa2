"""The pipeline graph of a spec: which component gets what from which."""

from __future__ import annotations

from dataclasses import dataclass

from tfx import types
from tfx.components import SchemaGen, StatisticsGen
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline

from crossrec.components.candidate_indexer.component import CandidateIndexer
from crossrec.components.cross_selector.auto import with_granularities
from crossrec.components.cross_selector.component import CrossSelector
from crossrec.components.cross_selector.config import CrossSelectorConfig
from crossrec.components.evaluation.component import Evaluation
from crossrec.components.evaluation.config import EvaluationRoles
from crossrec.components.example_gen.component import InteractionsExampleGen, ItemsExampleGen
from crossrec.components.example_gen.files import fingerprint
from crossrec.components.example_validator.component import ExampleValidator
from crossrec.components.feature_transform.component import FeatureTransform
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.features.crosses import expand
from crossrec.components.publisher.component import Publisher
from crossrec.components.ranking_examples.component import RankingExamples
from crossrec.components.ranking_examples.config import RankingExamplesConfig
from crossrec.components.ranking_trainer.component import RankingTrainer
from crossrec.components.retrieval_trainer.component import RetrievalTrainer
from crossrec.components.serving_bundle.component import ServingBundle
from crossrec.pipeline.columns import interaction_columns, item_columns
from crossrec.pipeline.digest import code_digest
from crossrec.pipeline.schemas import schema_path
from crossrec.pipeline.spec.spec import Spec

BEAM_ARGUMENTS = ("--runner=DirectRunner", "--direct_running_mode=in_memory", "--direct_num_workers=1")


@dataclass(frozen=True)
class Locations:
    """Where a pipeline reads and writes.

    Attributes:
        data: Directory that the spec's relative paths start from.
        root: The run root: artifacts, metadata, checkpoints, releases and logs lie below it.
    """

    data: str
    root: str

    @property
    def artifacts(self) -> str:
        """Root of the artifacts."""
        return f"{self.root}/artifacts"

    @property
    def metadata(self) -> str:
        """The ML Metadata database."""
        return f"{self.root}/metadata.sqlite"

    @property
    def checkpoints(self) -> str:
        """Checkpoints of trainings that have not ended."""
        return f"{self.root}/checkpoints"

    @property
    def serving(self) -> str:
        """Root of the published models."""
        return f"{self.root}/serving"

    @property
    def logs(self) -> str:
        """Logs of the runs."""
        return f"{self.root}/logs"


def build(spec: Spec, locations: Locations, cache: bool = True) -> Pipeline:
    """The pipeline of a spec.

    Args:
        spec: The spec.
        locations: Where it reads and writes.
        cache: Whether results of unchanged steps are taken from earlier runs.
    """
    components, examples = _ingestion(spec, locations)
    components += _modeling(spec, locations, examples, components)
    return Pipeline(
        pipeline_name=spec.name,
        pipeline_root=locations.artifacts,
        components=components,
        enable_cache=cache,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(locations.metadata),
        beam_pipeline_args=list(BEAM_ARGUMENTS),
    )


def never_cached(spec: Spec) -> tuple[str, ...]:
    """Nodes that must look at the world each time, because their inputs do not show all that they depend on.

    A cached publisher would not notice that its version is gone, or that another one was published since; a
    cached import of a schema would not notice an edit of the file.
    """
    imported = {
        "ItemsSchemaGen": spec.validation.items_schema,
        "InteractionsSchemaGen": spec.validation.interactions_schema,
    }
    return ("Publisher", *(node for node, path in imported.items() if path))


def _ingestion(spec: Spec, locations: Locations) -> tuple[list[BaseNode], dict[str, types.BaseChannel]]:
    """Reading and validating both tables."""
    digest = code_digest("example_gen")
    items = ItemsExampleGen(
        data_dir=locations.data,
        config=spec.data.items,
        columns=item_columns(spec),
        input_fingerprint=f"{fingerprint(spec.data.items, locations.data)}-{digest}",
    )
    interactions = InteractionsExampleGen(
        items=items.outputs["examples"],
        data_dir=locations.data,
        config=spec.data,
        columns=interaction_columns(spec),
        input_fingerprint=f"{fingerprint(spec.data, locations.data)}-{digest}",
    )
    components = [items, interactions]
    schemas = {"items": spec.validation.items_schema, "interactions": spec.validation.interactions_schema}
    for generator, table in ((items, "items"), (interactions, "interactions")):
        name = table.capitalize()
        statistics = StatisticsGen(examples=generator.outputs["examples"]).with_id(f"{name}StatisticsGen")
        if schemas[table]:
            path = schema_path(schemas[table], locations.data)
            schema = ImportSchemaGen(schema_file=path).with_id(f"{name}SchemaGen")
        else:
            schema = SchemaGen(
                statistics=statistics.outputs["statistics"], exclude_splits=["validation", "test"]
            ).with_id(f"{name}SchemaGen")
        validator = ExampleValidator(
            statistics=statistics.outputs["statistics"],
            schema=schema.outputs["schema"],
            schema_is_inferred=not schemas[table],
            table=table,
            code_digest=code_digest("example_validator"),
        ).with_id(f"{name}ExampleValidator")
        components += [statistics, schema, validator]
    return components, {"items": items.outputs["examples"], "interactions": interactions.outputs["examples"]}


def _modeling(
    spec: Spec, locations: Locations, examples: dict[str, types.BaseChannel], validated: list[BaseNode]
) -> list[BaseNode]:
    """From validated examples to a published bundle."""
    table = spec.data.interactions
    all_features, crosses = expand(spec.features, spec.crosses.explicit)
    if spec.crosses.auto is not None:
        all_features, _ = with_granularities(all_features, spec.crosses.auto)
    transform = FeatureTransform(
        examples["interactions"],
        examples["items"],
        FeatureTransformConfig(
            features=all_features,
            item_column=spec.data.items.item,
            interaction_item_column=table.item,
            user_column=table.user,
            timestamp_column=table.timestamp,
            position_column=table.position or "",
            labels=spec.labels,
            positive_label=spec.positive_label,
            display=spec.serving.display,
        ),
        code_digest("feature_transform"),
    )
    # Nothing is computed from data that did not pass validation.
    transform.add_upstream_nodes([node for node in validated if isinstance(node, ExampleValidator)])
    features = {name: transform.outputs[name] for name in ("transform_graphs", "item_table")}
    transformed = {"transformed_interactions": transform.outputs["transformed_interactions"]}
    selector = CrossSelector(
        {**transformed, **features},
        CrossSelectorConfig(
            features=all_features,
            crosses=spec.crosses.model_copy(update={"explicit": crosses}),
            label=spec.positive_label,
        ),
        code_digest("cross_selector"),
    )
    features["cross_set"] = selector.outputs["cross_set"]
    retrieval = RetrievalTrainer(
        {**transformed, **features},
        spec.retrieval.model_copy(update={"label": spec.positive_label}),
        code_digest("retrieval_trainer"),
        locations.checkpoints,
    )
    towers = {**features, "retrieval_model": retrieval.outputs["retrieval_model"]}
    indexer = CandidateIndexer(
        {name: towers[name] for name in ("cross_set", "item_table", "retrieval_model")},
        code_digest("candidate_indexer"),
    )
    searchable = {**towers, "candidate_index": indexer.outputs["candidate_index"]}
    ranking_examples = RankingExamples(
        {**transformed, **searchable},
        RankingExamplesConfig(
            label=spec.positive_label,
            negatives=spec.ranking.negatives,
            last_days=spec.ranking.last_days,
            seed=spec.ranking.training.seed,
        ),
        code_digest("ranking_examples"),
    )
    examples_of_ranking = {"ranking_examples": ranking_examples.outputs["ranking_examples"]}
    ranking = RankingTrainer(
        {**examples_of_ranking, **features}, spec.ranking, code_digest("ranking_trainer"), locations.checkpoints
    )
    ranked = {"ranking_model": ranking.outputs["ranking_model"]}
    raw = {"interactions": examples["interactions"]}
    bundle = ServingBundle({**raw, **searchable, **ranked}, spec.serving, code_digest("serving_bundle"))
    evaluation = Evaluation(
        {**raw, **examples_of_ranking, **features, **ranked, "bundle": bundle.outputs["bundle"]},
        spec.evaluation,
        EvaluationRoles(
            user=table.user,
            item=table.item,
            timestamp=table.timestamp,
            request=table.request or "",
            label=spec.positive_label,
        ),
        code_digest("evaluation"),
    )
    publisher = Publisher(
        bundle.outputs["bundle"],
        evaluation.outputs["blessing"],
        serving_root=locations.serving,
        model_name=spec.serving.model_name,
    )
    return [transform, selector, retrieval, indexer, ranking_examples, ranking, bundle, evaluation, publisher]
