"""What the feature transform gives: names, kinds, widths and cardinalities, written beside its graphs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from tfx.dsl.io import fileio

from crossrec.components.features.config import FeaturesConfig, Frozen, RawKind, Side, raw_columns
from crossrec.components.features.crosses import CrossConfig, default_buckets

FILE = "features.json"
# Columns of the transformed interactions beside the features. '@' cannot stand in a feature's name.
ITEM_ROW, USER, TIMESTAMP, POSITION = "@item_row", "@user", "@timestamp", "@position"
# Columns that the ranking examples add.
RETRIEVAL_SCORE, WEIGHT, RETRIEVED, CANDIDATE = "@retrieval_score", "@weight", "@retrieved", "@candidate"


def label_key(label: str) -> str:
    """The column of a label in the transformed interactions."""
    return f"@label/{label}"


class FeatureOutput(Frozen):
    """One transformed feature: ``[B, width]``, int64 ids below ``cardinality`` or float32 numbers."""

    name: str
    side: Side
    kind: Literal["ids", "dense", "items"]
    width: int
    cardinality: int
    multi_valued: bool


class CrossOutput(Frozen):
    """One cross: int64 ``[B, width]`` in 1…buckets, -1 for padding; and what it covers in training."""

    name: str
    inputs: tuple[str, ...]
    side: Literal["query", "item", "both"]
    buckets: int
    width: int
    distinct: int = 0
    collision_rate: float = 0.0


class FeatureSchema(Frozen):
    """All transformed features and crosses of a pipeline run."""

    raw_query: dict[str, RawKind]
    raw_item: dict[str, RawKind]
    features: tuple[FeatureOutput, ...]
    crosses: tuple[CrossOutput, ...]
    items: int
    item_column: str
    labels: tuple[str, ...]

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
        """Writes the schema into a directory."""
        with fileio.open(f"{directory}/{FILE}", "w") as file:
            file.write(self.model_dump_json(indent=1))

    @classmethod
    def read(cls, directory: str) -> FeatureSchema:
        """Reads the schema of a directory."""
        with fileio.open(f"{directory}/{FILE}", "r") as file:
            return cls.model_validate_json(file.read())


def is_padded(features: FeaturesConfig, name: str) -> bool:
    """Whether the feature's rows hold several values, padded with -1."""
    return features.get(name).width > 1 or getattr(features.get(name), "multi_valued", False)


def build_schema(
    features: FeaturesConfig, cardinalities: dict[str, int], items: tuple[str, int], labels: tuple[str, ...]
) -> FeatureSchema:
    """The schema from the configuration and what the analysis found, without crosses.

    Args:
        features: The features.
        cardinalities: Ids of each id feature, the missing one included.
        items: The item id column, and the number of items.
        labels: Names of the labels.
    """
    outputs = tuple(
        FeatureOutput(
            name=name,
            side=side,
            kind=feature.kind,
            width=feature.width,
            cardinality=cardinalities.get(name, 0),
            multi_valued=is_padded(features, name),
        )
        for name, side, feature in features.items()
    )
    return FeatureSchema(
        raw_query=raw_columns(features, "query"),
        raw_item=raw_columns(features, "item"),
        features=outputs,
        crosses=(),
        items=items[1],
        item_column=items[0],
        labels=labels,
    )


def add_crosses(schema: FeatureSchema, crosses: Iterable[CrossConfig]) -> FeatureSchema:
    """The schema with further crosses, not measured yet."""
    added = []
    for cross in crosses:
        inputs = [schema.feature(name) for name in cross.inputs]
        sides = {feature.side for feature in inputs}
        added.append(
            CrossOutput(
                name=cross.name,
                inputs=cross.inputs,
                side="both" if len(sides) == 2 else sides.pop(),
                buckets=cross.buckets or default_buckets([feature.cardinality for feature in inputs]),
                width=int(np.prod([feature.width for feature in inputs])),
            )
        )
    return schema.model_copy(update={"crosses": (*schema.crosses, *added)})
