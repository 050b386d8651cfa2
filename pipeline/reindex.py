"""A newer catalogue for a model that is served: of what, and the pipeline that makes it without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tfx import types
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from crossrec.components import artifacts
from crossrec.components.candidate_indexer.component import CandidateIndexer
from crossrec.components.catalogue_update.changes import CatalogueChanges, compare
from crossrec.components.catalogue_update.component import CatalogueUpdate, Source
from crossrec.components.catalogue_update.read import read_catalogue
from crossrec.components.catalogue_update.table import update_table
from crossrec.components.catalogue_update.texts import with_texts
from crossrec.components.errors import DataError
from crossrec.components.example_gen.files import fingerprint
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.features.item_table import ItemTable
from crossrec.components.publisher.component import Publisher
from crossrec.components.recall_gate.component import RecallGate
from crossrec.components.serving_bundle.component import ServingBundle
from crossrec.components.serving_check.component import ServingCheck
from crossrec.components.warm_start.records import OF_TEXTS, PARTS, ReleaseRecord, read_records
from crossrec.pipeline.columns import columns_of_items
from crossrec.pipeline.lineage import Lineage, Made
from crossrec.pipeline.locations import Locations
from crossrec.pipeline.spec.spec import Spec

_TYPES = {
    "interactions": standard_artifacts.Examples,
    "transformed_interactions": standard_artifacts.Examples,
    "transform_graphs": artifacts.TransformGraphs,
    "cross_set": artifacts.CrossSet,
    "item_table": artifacts.ItemTable,
    "retrieval_model": artifacts.RetrievalModel,
    "ranking_model": artifacts.RankingModel,
    "former_table": artifacts.ItemTable,
    "former_index": artifacts.CandidateIndex,
    "text_encoders": artifacts.TextEncoders,
    "text_embeddings": artifacts.TextEmbeddings,
}
_UPDATE = "CatalogueUpdate"


@dataclass(frozen=True)
class Served:
    """A release whose catalogue is to be replaced.

    Attributes:
        version: Its number.
        models_from: The version that its models were published as.
        transform: The features of the run that trained them.
        parts: Where everything lies, by name: artifacts of that run, and ``former_table`` and ``former_index``.
    """

    version: int
    models_from: int
    transform: FeatureTransformConfig
    parts: Mapping[str, str] = field(default_factory=dict)


def find_served(spec: Spec, locations: Locations, version: int | None = None) -> Served:
    """Looks up a release and what it was made of.

    Args:
        spec: The spec; its features are those of the release.
        locations: Where releases and ML Metadata lie.
        version: Number of the release; the last one if None.

    Raises:
        DataError: There is none, its artifacts are gone, or the spec's features have changed since.
    """
    record = _record(read_records(locations.serving, spec.serving.model_name), version, locations)
    lineage = Lineage(locations.metadata)
    bundle = _found(lineage.user(record.artifacts["ranking_model"], "ServingBundle"), record)
    update = lineage.maker(record.artifacts["ranking_model"])
    trained = bundle
    if update is not None and update.kind == _UPDATE:
        trained = _found(lineage.user(update.inputs["trained_ranking_model"], "ServingBundle"), record)
    indexer = _found(lineage.maker(trained.inputs["candidate_index"]), record)
    transform = _found(lineage.maker(trained.inputs["transform_graphs"]), record)
    config = FeatureTransformConfig.model_validate_json(transform.properties["config"])
    _check_features(spec, config, record)
    parts = {name: trained.inputs[name] for name in ("interactions", *PARTS)}
    parts |= {name: trained.inputs[name] for name in OF_TEXTS if name in trained.inputs}
    parts["transformed_interactions"] = indexer.inputs["transformed_interactions"]
    parts |= {"former_table": bundle.inputs["item_table"], "former_index": bundle.inputs["candidate_index"]}
    config = config.model_copy(update={"display": spec.shown_columns})
    return Served(record.version, record.models_from or record.version, config, parts)


def source(spec: Spec, locations: Locations, served: Served, always: bool = False) -> Source:
    """Where the newer catalogue comes from.

    Args:
        spec: The spec.
        locations: Where the data and the vectors of texts lie.
        served: The release.
        always: Whether everything is made also where nothing differs.
    """
    return Source(
        data_dir=locations.data,
        table=spec.data.items,
        columns=columns_of_items(served.transform.features, served.transform.display),
        fingerprint=fingerprint(spec.data.items, locations.data),
        always=always,
        text_vectors=locations.text_vectors,
    )


def plan(served: Served, source: Source) -> CatalogueChanges:
    """What a reindex would change, with nothing written."""
    items = read_catalogue(source.table, source.data_dir, source.columns)
    items = with_texts(items, served.transform.features, served.parts, source.text_vectors)
    graph = f"{served.parts['transform_graphs']}/item"
    table = update_table(items, served.transform, graph, ItemTable.read(served.parts["item_table"]))
    return compare(ItemTable.read(served.parts["former_table"]), table)


def build(spec: Spec, locations: Locations, served: Served, source: Source) -> Pipeline:
    """The pipeline that puts a newer catalogue into a release and publishes that as the next one.

    Args:
        spec: The spec.
        locations: Where it reads and writes.
        served: The release.
        source: The newer catalogue.
    """
    importers = {
        name: Importer(source_uri=uri, artifact_type=_TYPES[name]).with_id(f"Served.{name}")
        for name, uri in served.parts.items()
    }
    given = {name: importer.outputs["result"] for name, importer in importers.items()}
    of_update = {f"trained_{name}": given[name] for name in PARTS}
    of_update |= {name: given[name] for name in ("former_table", *OF_TEXTS) if name in given}
    update = CatalogueUpdate(of_update, source, served.transform, served.models_from)
    made: dict[str, types.BaseChannel] = {name: update.outputs[name] for name in PARTS}
    towers = {name: made[name] for name in ("transform_graphs", "cross_set", "item_table", "retrieval_model")}
    former = {name: given[name] for name in ("transformed_interactions", "former_table", "former_index")}
    depth = max(spec.serving.candidates, spec.serving.list_size)
    indexer = CandidateIndexer({**towers, **former}, spec.index, depth, "")
    index = indexer.outputs["candidate_index"]
    gate = RecallGate(index)
    texts = {name: given[name] for name in OF_TEXTS if name in given}
    parts = {**made, **texts, "candidate_index": index, "interactions": given["interactions"]}
    bundle = ServingBundle(parts, spec.serving.bundle, "")
    check = ServingCheck(bundle.outputs["bundle"], spec.serving.check, spec.serving.model_name, "")
    publisher = Publisher(
        bundle.outputs["bundle"],
        gate.outputs["blessing"],
        check.outputs["blessing"],
        serving_root=locations.serving,
        model_name=spec.serving.model_name,
        release_label=f"reindex of version {served.models_from}",
    )
    return Pipeline(
        pipeline_name=f"{spec.name}-reindex",
        pipeline_root=locations.artifacts,
        components=[*importers.values(), update, indexer, gate, bundle, check, publisher],
        enable_cache=False,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(locations.metadata),
    )


def _record(records: list[ReleaseRecord], version: int | None, locations: Locations) -> ReleaseRecord:
    known = ", ".join(str(record.version) for record in records)
    for record in records:
        if version is None or record.version == version:
            return record
    if not records:
        raise DataError(
            "--root", f"{locations.root} has no release with a record", "Publish one with `crossrec run` first."
        )
    raise DataError("--version", f"{version} is no release with a record", f"Name one of {known}.")


def _found(made: Made | None, record: ReleaseRecord) -> Made:
    if made is None:
        raise DataError(
            "--root",
            f"its ML Metadata do not know what version {record.version} was made of",
            "Publish a version from this root with `crossrec run`.",
        )
    return made


def _check_features(spec: Spec, config: FeatureTransformConfig, record: ReleaseRecord) -> None:
    for name, side, feature in spec.features.items():
        known = getattr(config.features, side).get(name)
        if known != feature:
            was = "not there" if known is None else "another one"
            raise DataError(
                f"features.{side}.{name}",
                f"was {was} when the models of version {record.version} were trained",
                "Run `crossrec run`, which trains with the features of today.",
            )
    if config.item_column != spec.data.items.item:
        raise DataError(
            "data.items.item",
            f"is {spec.data.items.item!r}, was {config.item_column!r} when the models were trained",
            "Run `crossrec run`, or name that column.",
        )
