"""The pipeline graph of a spec: which component gets what from which."""

from __future__ import annotations

from ml_metadata.proto.metadata_store_pb2 import ConnectionConfig
from tfx import types
from tfx.components import SchemaGen
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
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
from crossrec.components.example_gen.config import DataConfig, TableConfig
from crossrec.components.example_gen.files import fingerprint
from crossrec.components.example_validator.component import ExampleValidator
from crossrec.components.feature_transform.component import FeatureTransform
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.crosses import expand
from crossrec.components.features.encodings import encodings
from crossrec.components.publisher.component import Publisher
from crossrec.components.ranking_examples.component import RankingExamples
from crossrec.components.ranking_examples.config import RankingExamplesConfig
from crossrec.components.ranking_trainer.component import RankingTrainer
from crossrec.components.retrieval_trainer.component import RetrievalTrainer
from crossrec.components.serving_bundle.component import ServingBundle
from crossrec.components.serving_check.component import ServingCheck
from crossrec.components.serving_check.report import count_refusals
from crossrec.components.statistics.component import StatisticsGen
from crossrec.components.text_embedder.component import TextEmbedder
from crossrec.components.text_embedder.config import TextEmbedderConfig
from crossrec.components.text_encoder.component import TextEncoder
from crossrec.components.text_encoder.config import TextEncodersConfig, encoder_uses
from crossrec.components.text_encoder.fingerprint import fingerprint_of
from crossrec.components.warm_start.component import PreviousModel
from crossrec.components.warm_start.records import of_other_data, read_records
from crossrec.pipeline.columns import interaction_columns, item_columns
from crossrec.pipeline.digest import code_digest
from crossrec.pipeline.locations import Locations
from crossrec.pipeline.schemas import schema_path
from crossrec.pipeline.spec.beam import arguments
from crossrec.pipeline.spec.spec import Spec

RELEASE_NODES = ("ServingCheck", "Publisher")
"""Nodes that only a release needs."""


def build(spec: Spec, locations: Locations, cache: bool = True, publish: bool = True) -> Pipeline:
    """The pipeline of a spec.

    Args:
        spec: The spec.
        locations: Where it reads and writes.
        cache: Whether results of unchanged steps are taken from earlier runs.
        publish: Whether the nodes that lead to a release belong to it; the last one is the evaluation otherwise.
    """
    components, examples = _ingestion(spec, locations)
    components += _modeling(spec, locations, examples, components)
    if not publish:
        components = [node for node in components if node.id not in RELEASE_NODES]
    for component in components:
        if isinstance(component, BaseBeamComponent):
            component.with_beam_pipeline_args(arguments(spec.beam, component.id))
    return Pipeline(
        pipeline_name=spec.name,
        pipeline_root=locations.artifacts,
        components=components,
        enable_cache=cache,
        metadata_connection_config=_metadata_store(locations),
    )


def _metadata_store(locations: Locations) -> ConnectionConfig | None:
    """None where the runner has one of its own: TFX would make its directory here."""
    return metadata.sqlite_metadata_connection_config(locations.metadata) if locations.data_is_here else None


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


def _fingerprint(config: DataConfig | TableConfig, locations: Locations) -> str:
    """What of the data the cache looks at; nothing where the data cannot be seen yet."""
    return fingerprint(config, locations.data) if locations.data_is_here else ""


def _interactions_fingerprint(spec: Spec, locations: Locations) -> str:
    return f"{_fingerprint(spec.data, locations)}-{code_digest('example_gen')}"


def _ingestion(spec: Spec, locations: Locations) -> tuple[list[BaseNode], dict[str, types.BaseChannel]]:
    """Reading and validating both tables."""
    digest = code_digest("example_gen")
    items = ItemsExampleGen(
        data_dir=locations.data,
        config=spec.data.items,
        columns=item_columns(spec),
        input_fingerprint=f"{_fingerprint(spec.data.items, locations)}-{digest}",
    )
    interactions = InteractionsExampleGen(
        items=items.outputs["examples"],
        data_dir=locations.data,
        config=spec.data,
        columns=interaction_columns(spec),
        input_fingerprint=_interactions_fingerprint(spec, locations),
    )
    components = [items, interactions]
    schemas = {"items": spec.validation.items_schema, "interactions": spec.validation.interactions_schema}
    for generator, table in ((items, "items"), (interactions, "interactions")):
        name = table.capitalize()
        statistics = StatisticsGen(generator.outputs["examples"], code_digest("statistics")).with_id(
            f"{name}StatisticsGen"
        )
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
    previous = _previous(spec, locations, examples["interactions"])
    start = {} if previous is None else {"previous_model": previous.outputs["previous_model"]}
    kept = start if spec.warm_start is not None and spec.warm_start.text_encoders == "keep" else {}
    text_nodes = _texts(spec, locations, {**examples, **kept}, all_features)
    texts = {name: channel for node in text_nodes for name, channel in node.outputs.items()}
    transform = FeatureTransform(
        texts.pop("embedded_interactions", examples["interactions"]),
        texts.pop("embedded_items", examples["items"]),
        FeatureTransformConfig(
            features=all_features,
            item_column=spec.data.items.item,
            interaction_item_column=table.item,
            user_column=table.user,
            timestamp_column=table.time_column,
            position_column=table.position or "",
            labels=spec.labels,
            grades=tuple(table.grades),
            request_column=(table.request or "") if table.grades else "",
            positive_label=spec.positive_label,
            display=spec.shown_columns,
        ),
        code_digest("feature_transform"),
    )
    # Nothing is computed from data that did not pass validation.
    validators = [node for node in validated if isinstance(node, ExampleValidator)]
    for node in (*text_nodes, transform):
        node.add_upstream_nodes(validators)
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
        {**transformed, **features, **start},
        spec.retrieval.model_copy(update={"label": spec.positive_label}),
        code_digest("retrieval_trainer"),
        locations.checkpoints,
    )
    towers = {**features, "retrieval_model": retrieval.outputs["retrieval_model"]}
    indexer = CandidateIndexer(
        {**transformed, **towers},
        spec.index,
        max(spec.serving.candidates, spec.serving.list_size),
        code_digest("candidate_indexer"),
    )
    searchable = {**towers, "candidate_index": indexer.outputs["candidate_index"]}
    ranking_examples = RankingExamples(
        {**transformed, **searchable},
        RankingExamplesConfig(
            label=spec.positive_label,
            lists=spec.ranking.learns_lists,
            negatives=spec.ranking.negatives,
            last_days=spec.ranking.last_days,
            seed=spec.ranking.training.seed,
        ),
        code_digest("ranking_examples"),
    )
    examples_of_ranking = {"ranking_examples": ranking_examples.outputs["ranking_examples"]}
    ranking = RankingTrainer(
        {**examples_of_ranking, **features, **start},
        spec.ranking,
        code_digest("ranking_trainer"),
        locations.checkpoints,
    )
    ranked = {"ranking_model": ranking.outputs["ranking_model"]}
    raw = {"interactions": examples["interactions"]}
    bundle = ServingBundle({**raw, **searchable, **ranked, **texts}, spec.serving.bundle, code_digest("serving_bundle"))
    evaluation = Evaluation(
        {
            **raw,
            **examples_of_ranking,
            **features,
            **ranked,
            "candidate_index": indexer.outputs["candidate_index"],
            "bundle": bundle.outputs["bundle"],
        },
        spec.evaluation,
        EvaluationRoles(
            user=table.user,
            item=table.item,
            timestamp=table.time_column,
            request=table.request or "",
            label=spec.positive_label,
        ),
        code_digest("evaluation"),
    )
    check = ServingCheck(
        bundle.outputs["bundle"],
        spec.serving.check,
        model_name=spec.serving.model_name,
        code_digest=code_digest("serving_check"),
        refusals=count_refusals(locations.artifacts) if locations.data_is_here else 0,
    )
    publisher = Publisher(
        bundle.outputs["bundle"],
        evaluation.outputs["blessing"],
        check.outputs["blessing"],
        serving_root=locations.serving,
        model_name=spec.serving.model_name,
    )
    made = [transform, selector, retrieval, indexer, ranking_examples, ranking, bundle, evaluation, check, publisher]
    return [*([] if previous is None else [previous]), *text_nodes, *made]


def _texts(
    spec: Spec, locations: Locations, channels: dict[str, types.BaseChannel], features: FeaturesConfig
) -> list[BaseNode]:
    """From texts to columns of vectors; nothing where no feature has an encoder.

    Args:
        spec: The spec.
        locations: Where it reads and writes.
        channels: ``interactions`` and ``items``; ``previous_model`` where encoders are kept.
        features: All features.
    """
    uses = encoder_uses(features)
    if not uses:
        return []
    table = spec.data.interactions
    encoder = TextEncoder(
        channels,
        TextEncodersConfig(
            uses=uses,
            label=spec.positive_label,
            item_column=spec.data.items.item,
            interaction_item_column=table.item,
            user_column=table.user,
            timestamp_column=table.time_column,
        ),
        code_digest("text_encoder"),
        fingerprint_of(uses) if locations.data_is_here else "",
    )
    embedder = TextEmbedder(
        {**channels, "text_encoders": encoder.outputs["text_encoders"]},
        TextEmbedderConfig(encodings=encodings(features)),
        locations.text_vectors,
        code_digest("text_embedder"),
    )
    return [encoder, embedder]


def _previous(spec: Spec, locations: Locations, interactions: types.BaseChannel) -> PreviousModel | None:
    """The look-up of the release to start from."""
    if spec.warm_start is None:
        return None
    model, known = spec.serving.model_name, None
    if locations.data_is_here:
        records = of_other_data(read_records(locations.serving, model), _interactions_fingerprint(spec, locations))
        known = [record.version for record in records]
    return PreviousModel(interactions, spec.warm_start, locations.serving, model, known)
