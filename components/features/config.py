"""The ``features`` section of the spec: what each raw column becomes.

Every feature is one operator with one input column and one output of static shape ``[B, width]``:
``ids`` (int64, 0 = missing, -1 = padding of a multi-valued feature) or ``dense`` (float32).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Union

from pydantic import Field, model_validator

from crossrec.components.features.frozen import Frozen
from crossrec.components.text.config import TextEncoderConfig

Side = Literal["query", "item"]
RawKind = Literal["string", "float", "int", "strings", "floats"]

NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
"""Names of features and crosses: they become names of files, of tensors and of variables."""

AUTO = "auto"
"""``hash_buckets`` by the number of different values in the training data."""

HashBuckets = Union[Annotated[int, Field(ge=2, le=2**31 - 2)], Literal["auto"]]

TIME_PARTS: dict[str, int] = {
    "hour": 24,
    "part_of_day": 4,
    "weekday": 7,
    "day_of_month": 31,
    "month": 12,
    "hour_of_week": 168,
}


class _Feature(Frozen):
    column: str = Field(default="", description="raw column; the feature's own name when left out")

    @property
    def raw_kind(self) -> RawKind:
        """What a raw value of this feature looks like."""
        raise NotImplementedError

    @property
    def kind(self) -> Literal["ids", "dense", "items"]:
        """What comes out: ids to embed, dense numbers, or rows of the item table."""
        return "ids"

    @property
    def width(self) -> int:
        """Values per example in the output."""
        return 1

    @property
    def transform_column(self) -> str:
        """The column that the transform reads: the raw one, or what was made of it before."""
        return self.column

    @property
    def transform_kind(self) -> RawKind:
        """What a value of that column looks like."""
        return self.raw_kind


class VocabularyConfig(Frozen):
    """Which values get an id of their own; the others share the id of unknown values."""

    max_size: int = Field(default=1_000_000, ge=1)
    min_count: int = Field(default=1, ge=1)


class Categorical(_Feature):
    """A string, or several: by vocabulary (ids 0 missing, 1 unknown, 2… values) or hashed (1…buckets).

    With ``hash_buckets: auto`` there are so many that a quarter at most of the values in training share their id.
    """

    type: Literal["categorical"]
    vocabulary: VocabularyConfig | None = None
    hash_buckets: HashBuckets | None = None
    multi_valued: bool = False
    max_length: int = Field(default=8, ge=1, le=1024, description="values kept of a multi-valued feature")

    @model_validator(mode="after")
    def _one_way_to_ids(self) -> Categorical:
        if self.vocabulary is not None and self.hash_buckets is not None:
            raise ValueError("has both 'vocabulary' and 'hash_buckets'. Keep one of them")
        return self

    @property
    def raw_kind(self) -> RawKind:
        """One string or several."""
        return "strings" if self.multi_valued else "string"

    @property
    def width(self) -> int:
        """Values per example in the output."""
        return self.max_length if self.multi_valued else 1


class Numeric(_Feature):
    """A number: imputed, clipped, ``sign(x) log(1 + |x|)``, normalised, in this order."""

    type: Literal["numeric"]
    impute: Literal["mean", "median", "zero"] | Annotated[float, Field(allow_inf_nan=False)] = "median"
    clip: tuple[float, float] | None = None
    log: bool = False
    normalise: Literal["z_score", "min_max", "none"] = "z_score"

    @model_validator(mode="after")
    def _clip_is_a_range(self) -> Numeric:
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise ValueError(f"clip {list(self.clip)} is empty. Give [low, high] with low < high")
        return self

    @property
    def raw_kind(self) -> RawKind:
        """A float."""
        return "float"

    @property
    def kind(self) -> Literal["ids", "dense", "items"]:
        """A dense number."""
        return "dense"


class Buckets(_Feature):
    """A number as the id of its quantile (1…count); 0 is missing."""

    type: Literal["buckets"]
    count: int = Field(default=10, ge=2, le=10_000)

    @property
    def raw_kind(self) -> RawKind:
        """A float."""
        return "float"


class TimePart(_Feature):
    """A part of a UTC timestamp as an id (1…); 0 is missing."""

    type: Literal["time_part"]
    part: Literal["hour", "part_of_day", "weekday", "day_of_month", "month", "hour_of_week"]
    utc_offset_hours: int = Field(default=0, ge=-12, le=14)

    @property
    def raw_kind(self) -> RawKind:
        """Unix seconds."""
        return "int"


class Text(_Feature):
    """Text: hashed words, the vector of a language model, or the id of the group that its vector lies in.

    Attributes:
        max_tokens: Lower-case words and numbers that count; Han characters are tokens of their own.
        hash_buckets: Ids of hashed tokens; ``auto``: by the number of different ones, the same for all such texts.
        ngrams: Longest n-gram of tokens that gets an id.
        encoder: Makes a vector of the text instead, float32 ``[B, dimension]``; zeros where the text is missing.
        clusters: The vector becomes the id (1…clusters) of the nearest of so many centres of the catalogue's
            vectors (k-means); 0 where the text is missing.
    """

    type: Literal["text"]
    max_tokens: int = Field(default=16, ge=1, le=512)
    hash_buckets: HashBuckets = 16_384
    ngrams: int = Field(default=1, ge=1, le=3, description="longest n-gram of tokens that gets an id")
    encoder: TextEncoderConfig | None = None
    clusters: int | None = Field(default=None, ge=2, le=100_000)

    @model_validator(mode="after")
    def _words_or_encoder(self) -> Text:
        if self.encoder is None and self.clusters is not None:
            raise ValueError(f"clusters {self.clusters} are of an encoder's vectors. Add 'encoder: {{}}'")
        # Of a configuration that went through JSON all fields were set, those of no use to their defaults.
        fields = type(self).model_fields
        unused = [n for n in ("hash_buckets", "max_tokens", "ngrams") if getattr(self, n) != fields[n].default]
        if self.encoder is not None and unused:
            raise ValueError(
                f"{unused} are of hashed words, but 'encoder' is given. Leave them out (the encoder has its own "
                "max_tokens), or make a second feature of the column"
            )
        return self

    @property
    def raw_kind(self) -> RawKind:
        """One string."""
        return "string"

    @property
    def kind(self) -> Literal["ids", "dense", "items"]:
        """Ids of words or of a cluster, or the numbers of a vector."""
        return "dense" if self.encoder is not None and self.clusters is None else "ids"

    @property
    def width(self) -> int:
        """Tokens and n-grams per example, numbers of the vector, or one cluster."""
        if self.encoder is not None:
            return 1 if self.clusters is not None else self.encoder.dimension
        return sum(max(self.max_tokens - n, 0) for n in range(self.ngrams))

    @property
    def encoded_column(self) -> str:
        """The column that the pipeline adds for the transform: the encoder's vector or its cluster."""
        if self.encoder is None:
            return self.column
        suffix = "" if self.clusters is None else f"_{self.clusters}"
        return f"{self.column}__{self.encoder.key}{suffix}"

    @property
    def transform_column(self) -> str:
        """The text, or what an encoder made of it."""
        return self.encoded_column

    @property
    def transform_kind(self) -> RawKind:
        """The text, the numbers of a vector, or the id of a cluster."""
        if self.encoder is None:
            return self.raw_kind
        return "floats" if self.clusters is None else "int"


class RecentItems(_Feature):
    """The user's recent items, most recent first, as rows of the item table; -1 pads and marks unknown items."""

    type: Literal["recent_items"]
    max_length: int = Field(default=20, ge=1, le=1024)

    @property
    def raw_kind(self) -> RawKind:
        """Item ids."""
        return "strings"

    @property
    def kind(self) -> Literal["ids", "dense", "items"]:
        """Rows of the item table."""
        return "items"

    @property
    def width(self) -> int:
        """Items per example."""
        return self.max_length


class Vector(_Feature):
    """A list of numbers as it stands, such as an embedding made elsewhere; zeros where it is missing."""

    type: Literal["vector"]
    dimension: int = Field(ge=1, le=4096)

    @property
    def raw_kind(self) -> RawKind:
        """Floats, as many as the dimension says."""
        return "floats"

    @property
    def kind(self) -> Literal["ids", "dense", "items"]:
        """Dense numbers."""
        return "dense"

    @property
    def width(self) -> int:
        """The dimension."""
        return self.dimension


Feature = Annotated[
    Union[Categorical, Numeric, Buckets, TimePart, Text, RecentItems, Vector], Field(discriminator="type")
]


class FeaturesConfig(Frozen):
    """All features, by the side that knows them: the query (user, query, context) or the item."""

    query: Mapping[str, Feature] = Field(min_length=1)
    item: Mapping[str, Feature] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _columns_default_to_names(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        out = dict(values)
        for side in ("query", "item"):
            if isinstance(out.get(side), dict):
                out[side] = {
                    name: ({"column": str(name), **body} if isinstance(body, dict) else body)
                    for name, body in out[side].items()
                }
        return out

    @model_validator(mode="after")
    def _check(self) -> FeaturesConfig:
        both = sorted(set(self.query) & set(self.item))
        if both:
            raise ValueError(f"names {both} stand on both sides. Rename one of each, and give it 'column'")
        for name in self.names:
            if not re.fullmatch(NAME, name):
                raise ValueError(
                    f"{self.side_of(name)}: {name!r} is no name for a feature. Use letters, digits and '_', a letter "
                    f"first, and give it 'column: {name}'"
                )
        for name, feature in self.item.items():
            if isinstance(feature, RecentItems):
                raise ValueError(f"item.{name} is of type recent_items. Move it to the query side")
        for side in ("query", "item"):
            raw_columns(self, side)
            raw_widths(self, side)
            _check_encoded(self, side)
        return self

    def items(self) -> Iterator[tuple[str, Side, Feature]]:
        """Yields (name, side, feature) in the order of the spec, query first."""
        for name, feature in self.query.items():
            yield name, "query", feature
        for name, feature in self.item.items():
            yield name, "item", feature

    def side_of(self, name: str) -> Side:
        """The side of a feature."""
        return "query" if name in self.query else "item"

    def get(self, name: str) -> Feature:
        """The feature of that name, of either side."""
        return self.query[name] if name in self.query else self.item[name]

    @property
    def names(self) -> list[str]:
        """All names, query first."""
        return [*self.query, *self.item]


def raw_columns(features: FeaturesConfig, side: Side) -> dict[str, RawKind]:
    """The raw columns that the features of one side read, with the kind of each.

    Raises:
        ValueError: Two features read one column as different kinds.
    """
    columns: dict[str, RawKind] = {}
    for name, feature in getattr(features, side).items():
        kind = columns.setdefault(feature.column, feature.raw_kind)
        if kind != feature.raw_kind:
            raise ValueError(
                f"{side}.{name} reads column {feature.column!r} as {feature.raw_kind}, another feature as {kind}. "
                "Give both the same kind of type"
            )
    return columns


def transform_columns(features: FeaturesConfig, side: Side) -> dict[str, RawKind]:
    """The columns that the transform of one side reads: as raw, but for texts that an encoder made numbers of."""
    return {feature.transform_column: feature.transform_kind for feature in getattr(features, side).values()}


def raw_widths(features: FeaturesConfig, side: Side) -> dict[str, int]:
    """The raw columns of one side that hold vectors, with the numbers in each.

    Raises:
        ValueError: Two features read one column as vectors of different dimensions.
    """
    widths: dict[str, int] = {}
    for name, feature in getattr(features, side).items():
        if isinstance(feature, Vector) and widths.setdefault(feature.column, feature.width) != feature.width:
            raise ValueError(
                f"{side}.{name} reads column {feature.column!r} as {feature.width} numbers, another feature as "
                f"{widths[feature.column]}. Give both one 'dimension'"
            )
    return widths


def _check_encoded(features: FeaturesConfig, side: Side) -> None:
    encoded = {
        f.transform_column: name for name, f in getattr(features, side).items() if f.transform_column != f.column
    }
    for column in raw_columns(features, side):
        if column in encoded:
            raise ValueError(
                f"{side}.{encoded[column]} puts its vectors into a column {column!r}, which another feature reads. "
                "Rename that column of the file"
            )
