"""The CatalogueUpdate component."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec

from crossrec.components import artifacts
from crossrec.components.catalogue_update.executor import Executor
from crossrec.components.example_gen.config import ItemsTable, RawColumn
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.features.frozen import Frozen
from crossrec.components.specs import make_spec, output_channels

_UPDATED = {
    "transform_graphs": artifacts.TransformGraphs,
    "cross_set": artifacts.CrossSet,
    "item_table": artifacts.ItemTable,
    "retrieval_model": artifacts.RetrievalModel,
    "ranking_model": artifacts.RankingModel,
}

CatalogueUpdateSpec = make_spec(
    "CatalogueUpdateSpec",
    inputs={
        **{f"trained_{name}": kind for name, kind in _UPDATED.items()},
        "former_table": artifacts.ItemTable,
        "text_encoders": artifacts.TextEncoders,
        "text_embeddings": artifacts.TextEmbeddings,
    },
    outputs=_UPDATED,
    parameters={
        "data_dir": str,
        "config": str,
        "columns": str,
        "transform": str,
        "catalogue": str,
        "models_from": int,
        "always": int,
        "text_vectors": str,
    },
    optional=("text_encoders", "text_embeddings"),
)


class Source(Frozen):
    """Where the newer catalogue comes from.

    Attributes:
        data_dir: Directory that relative paths start from.
        table: The ``data.items`` part of the spec.
        columns: Columns that features, lists and filters need.
        fingerprint: Digest of the files.
        always: Whether everything is made also where nothing differs from the catalogue that is served.
        text_vectors: Root of the vectors of texts that runs have embedded.
    """

    data_dir: str
    table: ItemsTable
    columns: tuple[RawColumn, ...]
    fingerprint: str
    always: bool = False
    text_vectors: str = ""


class CatalogueUpdate(base_component.BaseComponent):
    """Puts a newer catalogue in the place of the one that models were trained with; nothing is trained.

    Inputs are the artifacts of the run that trained, ``trained_<name>``, and ``former_table``, the catalogue that is
    served. Outputs are the same for the newer catalogue, ``<name>``. Custom properties of ``item_table`` say of which
    version the models are (``models_from``), which files it was read from (``catalogue``), and how many items are
    ``new_items``, ``removed_items`` and ``changed_items``; ``catalogue_changes.json`` beside it has more.
    """

    SPEC_CLASS = CatalogueUpdateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        channels: Mapping[str, types.BaseChannel],
        source: Source,
        transform: FeatureTransformConfig,
        models_from: int,
    ):
        """Constructs the component.

        Args:
            channels: ``trained_`` and ``transform_graphs``, ``cross_set``, ``item_table``, ``retrieval_model``,
                ``ranking_model``; ``former_table``; ``text_encoders`` and ``text_embeddings`` where the run has them.
            source: The newer catalogue.
            transform: The features of the run, and the columns to show.
            models_from: The version that the models were published as.
        """
        columns = [column.model_dump() for column in source.columns]
        super().__init__(
            spec=CatalogueUpdateSpec(
                **channels,
                data_dir=source.data_dir,
                config=source.table.model_dump_json(),
                columns=json.dumps(columns),
                transform=transform.model_dump_json(),
                catalogue=source.fingerprint,
                models_from=models_from,
                always=int(source.always),
                text_vectors=source.text_vectors,
                **output_channels(CatalogueUpdateSpec),
            )
        )
