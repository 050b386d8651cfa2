"""What the feature transform gives: names, kinds, widths and cardinalities, written beside its graphs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import PrivateAttr
from tfx.dsl.io import fileio

from crossrec.components.features.config import (
    FeaturesConfig,
    RawKind,
    Side,
    Text,
    raw_columns,
    raw_widths,
    transform_columns,
)
from crossrec.components.features.crosses.config import (
    BM25Cross,
    CrossConfig,
    HashedCross,
    SimilarityCross,
    StatisticsCross,
)
from crossrec.components.features.crosses.hashing import default_buckets
from crossrec.components.features.crosses.tables import CrossTables
from crossrec.components.features.encodings import Encoding, encodings
from crossrec.components.features.frozen import Frozen

FILE = "features.json"
# Columns of the transformed interactions beside the features. '@' cannot stand in a feature's name.
ITEM_ROW, USER, TIMESTAMP, POSITION = "@item_row", "@user", "@timestamp", "@position"
# Beside grades: the list that a row belongs to, where it is not the user and the time that say so.
REQUEST = "@request"
# Columns that the ranking examples add.
RETRIEVAL_SCORE, WEIGHT, RETRIEVED, CANDIDATE = "@retrieval_score", "@weight", "@retrieved", "@candidate"


def label_key(label: str) -> str:
    """The column of a label in the transformed interactions."""
    return f"@label/{label}"


class FeatureOutput(Frozen):
    """One transformed feature: ``[B, width]``, int64 ids below ``cardinality`` or float32 numbers.

    Attributes:
        name: Its name.
        side: Where it stands.
        kind: Ids, numbers, or rows of the item table.
        width: Values of an example.
        cardinality: Number of ids; 0 for numbers.
        multi_valued: Whether an example may have several ids, padded with -1.
        encoder: Key of the encoder that made vectors or clusters of texts; "" for other features.
        encoder_digest: Of what that encoder computes, and of the centres of its clusters; "" where it is not known.
    """

    name: str
    side: Side
    kind: Literal["ids", "dense", "items"]
    width: int
    cardinality: int
    multi_valued: bool
    encoder: str = ""
    encoder_digest: str = ""


class CrossOutput(Frozen):
    """One cross, and what it covers in training.

    Attributes:
        config: What it is made of, and how.
        side: The side that knows all its inputs.
        kind: ``ids`` (int64, -1 is padding, 0 all rare combinations) or ``dense`` (float32).
        width: Numbers or ids of an example.
        buckets: Largest id; of a cross of statistics the combinations that it has any of.
        distinct: Different combinations in training; of BM25 different terms in the catalogue.
        collision_rate: Share of them that have an id together with others.
        coverage: Share of the combinations of the training rows that occurred often enough to learn from; of BM25 the
            share of the queries' terms that the catalogue has.
        found: Whether the data spoke for it, and not the spec.
    """

    config: CrossConfig
    side: Literal["query", "item", "both"]
    kind: Literal["ids", "dense"] = "ids"
    width: int
    buckets: int = 0
    distinct: int = 0
    collision_rate: float = 0.0
    coverage: float = 0.0
    found: bool = False

    @property
    def name(self) -> str:
        """The name of the cross."""
        return self.config.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features that are crossed."""
        return self.config.inputs

    @property
    def pooling(self) -> Literal["mean", "sum"]:
        """How the vectors of several ids become one."""
        return "sum" if getattr(self.config, "pairs", "all") == "any" else "mean"


class FeatureSchema(Frozen):
    """All transformed features and crosses of a pipeline run.

    Attributes:
        raw_query: Raw columns of the query side, with the kind of each.
        raw_item: Raw columns of the item side, with the kind of each.
        raw_widths: Numbers in each raw column of the query side that holds vectors.
        encodings: Columns that the transform reads in the place of texts, and how they are made.
        only_encoded: Raw columns of the query side that the transform itself does not read.
        features: The features.
        crosses: The crosses.
        items: Items of the catalogue.
        item_column: Raw column of the item id.
        labels: Names of the labels.
    """

    raw_query: dict[str, RawKind]
    raw_item: dict[str, RawKind]
    raw_widths: dict[str, int] = {}
    encodings: tuple[Encoding, ...] = ()
    only_encoded: tuple[str, ...] = ()
    features: tuple[FeatureOutput, ...]
    crosses: tuple[CrossOutput, ...]
    items: int
    item_column: str
    labels: tuple[str, ...]
    _tables: CrossTables = PrivateAttr(default_factory=CrossTables)

    @property
    def tables(self) -> CrossTables:
        """What the fitted crosses look up."""
        return self._tables

    def with_fitted(self, crosses: Iterable[CrossOutput], tables: CrossTables) -> FeatureSchema:
        """The schema with other crosses and their tables."""
        out = self.model_copy(update={"crosses": tuple(crosses)})
        out._tables = tables
        return out

    def side(self, side: Side) -> list[FeatureOutput]:
        """The features of one side, in the order of the spec."""
        return [feature for feature in self.features if feature.side == side]

    def feature(self, name: str) -> FeatureOutput:
        """The feature of that name."""
        return next(feature for feature in self.features if feature.name == name)

    def cross(self, name: str) -> CrossOutput:
        """The cross of that name."""
        return next(cross for cross in self.crosses if cross.name == name)

    def write(self, directory: str) -> None:
        """Writes the schema, and the tables of its crosses if there are any, into a directory."""
        with fileio.open(f"{directory}/{FILE}", "w") as file:
            file.write(self.model_dump_json(indent=1))
        self._tables.write(directory)

    @classmethod
    def read(cls, directory: str) -> FeatureSchema:
        """Reads the schema of a directory."""
        with fileio.open(f"{directory}/{FILE}", "r") as file:
            schema = cls.model_validate_json(file.read())
        return schema.with_fitted(schema.crosses, CrossTables.read(directory))


def is_padded(features: FeaturesConfig, name: str) -> bool:
    """Whether the feature's rows hold several values, padded with -1."""
    feature = features.get(name)
    return feature.kind != "dense" and (feature.width > 1 or getattr(feature, "multi_valued", False))


def build_schema(
    features: FeaturesConfig,
    cardinalities: dict[str, int],
    items: tuple[str, int],
    labels: tuple[str, ...],
    encoded_by: Mapping[str, str] | None = None,
) -> FeatureSchema:
    """The schema from the configuration and what the analysis found, without crosses.

    Args:
        features: The features.
        cardinalities: Ids of each id feature, the missing one included.
        items: The item id column, and the number of items.
        labels: Names of the labels.
        encoded_by: Digest of what made each column of vectors or clusters of texts.
    """
    outputs = tuple(
        FeatureOutput(
            name=name,
            side=side,
            kind=feature.kind,
            width=feature.width,
            cardinality=cardinalities.get(name, 0),
            multi_valued=is_padded(features, name),
            **(_encoder_of(feature, encoded_by or {}) if isinstance(feature, Text) else {}),
        )
        for name, side, feature in features.items()
    )
    return FeatureSchema(
        raw_query=raw_columns(features, "query"),
        raw_item=raw_columns(features, "item"),
        raw_widths=raw_widths(features, "query"),
        encodings=encodings(features),
        only_encoded=tuple(sorted(set(raw_columns(features, "query")) - set(transform_columns(features, "query")))),
        features=outputs,
        crosses=(),
        items=items[1],
        item_column=items[0],
        labels=labels,
    )


def _encoder_of(feature: Text, encoded_by: Mapping[str, str]) -> dict[str, str]:
    if feature.encoder is None:
        return {}
    return {"encoder": feature.encoder.key, "encoder_digest": encoded_by.get(feature.encoded_column, "")}


def add_crosses(schema: FeatureSchema, crosses: Iterable[CrossConfig], found: bool = False) -> FeatureSchema:
    """The schema with further crosses, not fitted yet.

    Args:
        schema: The schema.
        crosses: Crosses without granularities, see ``expand``.
        found: Whether the data spoke for them, and not the spec.
    """
    added = tuple(_cross_output(schema, cross).model_copy(update={"found": found}) for cross in crosses)
    return schema.model_copy(update={"crosses": (*schema.crosses, *added)})


def _cross_output(schema: FeatureSchema, cross: CrossConfig) -> CrossOutput:
    inputs = [schema.feature(name) for name in cross.inputs]
    sides = {feature.side for feature in inputs}
    side: Literal["query", "item", "both"] = "both" if len(sides) == 2 else sides.pop()
    if isinstance(cross, (SimilarityCross, BM25Cross)):
        return CrossOutput(config=cross, side=side, kind="dense", width=len(cross.measures))
    if isinstance(cross, StatisticsCross):
        return CrossOutput(config=cross, side=side, kind="dense", width=len(cross.statistics))
    buckets = 0
    if isinstance(cross, HashedCross):
        buckets = cross.buckets or default_buckets([feature.cardinality for feature in inputs])
    width = int(np.prod([feature.width for feature in inputs]))
    return CrossOutput(config=cross, side=side, width=width, buckets=buckets)
