"""The explicit crosses of the spec: one model per kind, told apart by ``type``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Union

from pydantic import BeforeValidator, Field, model_validator

from crossrec.components.features.config import NAME
from crossrec.components.features.frozen import Frozen

Pairs = Literal["all", "any"]
Statistic = Literal["count", "rate"]
Measure = Literal["dot", "cosine"]
TextMeasure = Literal["bm25", "share", "coverage", "matched"]
Granularity = Annotated[int, Field(ge=2, le=10_000)]
FOUND = "found"
"""Stands for all crosses that ``crosses.auto`` finds where a model names its crosses."""

_MOST_BUCKETS = 2**31 - 2
_SUFFIXES = {"statistics": "_statistics", "similarity": "_similarity", "bm25": "_bm25"}


def default_name(kind: str, inputs: tuple[str, ...]) -> str:
    """The name of a cross that was given none."""
    return "_x_".join(inputs) + _SUFFIXES.get(kind, "")


class _Cross(Frozen):
    name: str = Field(default="", description="from the inputs if left out")

    @model_validator(mode="before")
    @classmethod
    def _name_from_inputs(cls, values: object) -> object:
        if isinstance(values, dict) and not values.get("name") and isinstance(values.get("inputs"), (list, tuple)):
            kind = values.get("type") or cls.model_fields["type"].default
            return {**values, "name": default_name(str(kind), tuple(str(i) for i in values["inputs"]))}
        return values

    @model_validator(mode="after")
    def _distinct(self) -> _Cross:
        inputs: tuple[str, ...] = getattr(self, "inputs", ())
        if not re.fullmatch(NAME, self.name):
            raise ValueError(f"name {self.name!r} is no name for a cross. Use letters, digits and '_', a letter first")
        if self.name == FOUND:
            raise ValueError(f"name {FOUND!r} stands for the crosses that 'crosses.auto' finds. Give another name")
        if len(set(inputs)) != len(inputs):
            raise ValueError(f"crosses a feature with itself: {list(inputs)}. Name each input once")
        granularities: tuple[int, ...] = getattr(self, "granularities", ())
        if len(set(granularities)) != len(granularities):
            raise ValueError(f"granularities {list(granularities)} name one twice. Name each once")
        return self


class HashedCross(_Cross):
    """Every combination of ids as one of ``buckets`` ids; combinations may share one.

    Attributes:
        inputs: Features that give ids (or ``recent_items``), in an order that counts; numeric ones with
            ``granularities``.
        buckets: Number of ids; by the inputs' cardinalities if left out.
        pairs: Of multi-valued inputs: ``all`` pools every pair by the mean, ``any`` takes each id that occurs
            once and pools by the sum, so that it says whether any pair is there.
        granularities: Numbers of quantile buckets of numeric inputs; one cross for each.
    """

    type: Literal["hashed"] = "hashed"
    inputs: tuple[str, ...] = Field(min_length=2, max_length=4)
    buckets: int | None = Field(default=None, ge=2, le=_MOST_BUCKETS, description="ids; by cardinality if left out")
    pairs: Pairs = "all"
    granularities: tuple[Granularity, ...] = ()


class VocabularyCross(_Cross):
    """Every frequent combination as an id of its own, the most frequent one first; rare ones share id 0.

    Attributes:
        inputs: As of HashedCross.
        min_count: How often a combination must occur in training to get an id.
        max_size: Most ids.
        pairs: As of HashedCross.
        granularities: As of HashedCross.
    """

    type: Literal["vocabulary"] = "vocabulary"
    inputs: tuple[str, ...] = Field(min_length=2, max_length=4)
    min_count: int = Field(default=5, ge=1)
    max_size: int = Field(default=1_000_000, ge=1, le=2**28)
    pairs: Pairs = "all"
    granularities: tuple[Granularity, ...] = ()


class StatisticsCross(_Cross):
    """How often a combination occurred, and how much more often than usual the label was one.

    No training row sees itself or its neighbours: with ``by: time`` a row sees the parts of the training time
    that end ``lag_parts`` parts before its own does; with ``by: user`` it sees the other folds of users. Validation,
    test and serving see all of training.

    Attributes:
        inputs: As of HashedCross; one input is a target encoding of that feature.
        label: The label; the positive label of the spec if left out.
        statistics: ``count`` is log(1 + n), ``rate`` the log-odds of the smoothed rate less those of all rows.
        smoothing: Strength of the prior, in rows: a combination of as many rows is half prior, half its own.
        parts: Parts of the training time (equal in rows), or folds of users.
        lag_parts: Parts before a row that it does not see, its own included.
        by: ``time``, ``user``, or ``auto``: time where the training rows have different ones.
        min_count: Rows of training from which a combination has statistics; rarer ones have those of no rows.
        max_size: Most combinations that statistics are kept of, the most frequent ones.
        pairs: Of multi-valued inputs: ``all`` pairs or each that occurs once; counts add up, rates are averaged.
        granularities: As of HashedCross.
    """

    type: Literal["statistics"] = "statistics"
    inputs: tuple[str, ...] = Field(min_length=1, max_length=4)
    label: str = ""
    statistics: tuple[Statistic, ...] = Field(default=("count", "rate"), min_length=1, max_length=2)
    smoothing: float = Field(default=20.0, gt=0, le=1e9)
    parts: int = Field(default=8, ge=2, le=64)
    lag_parts: int = Field(default=1, ge=1, le=63)
    by: Literal["auto", "time", "user"] = "auto"
    min_count: int = Field(default=1, ge=1)
    max_size: int = Field(default=1_000_000, ge=1, le=2**28)
    pairs: Pairs = "all"
    granularities: tuple[Granularity, ...] = ()

    @model_validator(mode="after")
    def _something_to_see(self) -> StatisticsCross:
        if self.lag_parts >= self.parts:
            raise ValueError(
                f"lag_parts {self.lag_parts} of {self.parts} parts leaves no row anything to see. "
                "Lower lag_parts or raise parts"
            )
        if len(set(self.statistics)) != len(self.statistics):
            raise ValueError(f"statistics {list(self.statistics)} name one twice. Name each once")
        return self


class SimilarityCross(_Cross):
    """How alike two vectors are.

    Attributes:
        inputs: Two features of type ``vector``, or ``text`` with an ``encoder``, of one dimension; two texts have one
            and the same encoder.
        measures: ``dot`` and ``cosine``; the cosine of a vector of zeros is 0.
    """

    type: Literal["similarity"] = "similarity"
    inputs: tuple[str, str]
    measures: tuple[Measure, ...] = Field(default=("dot", "cosine"), min_length=1, max_length=2)

    @model_validator(mode="after")
    def _measures_once(self) -> SimilarityCross:
        if len(set(self.measures)) != len(self.measures):
            raise ValueError(f"measures {list(self.measures)} name one twice. Name each once")
        return self


class BM25Cross(_Cross):
    """How well the words of the query match texts of the item; formulas and sources are in bm25.py.

    Attributes:
        inputs: A feature of type ``text`` (hashed words) of the query, then one to three of the item, all with the same
            ``hash_buckets`` and ``ngrams``.
        weights: Of each text of the item; all 1 if left out.
        k1: How late repeated words saturate; 0 only asks whether a word is there.
        b: How much long texts are held down, 0 to 1.
        measures: ``bm25``; ``share``, the same over the most that any item could have, 0 to 1; ``coverage``, the share
            of the query's weight (idf) that is found, 0 to 1; ``matched``, 1 where every word is found.
    """

    type: Literal["bm25"] = "bm25"
    inputs: tuple[str, ...] = Field(min_length=2, max_length=4)
    weights: tuple[Annotated[float, Field(gt=0, le=1e6)], ...] = ()
    k1: float = Field(default=1.2, ge=0, le=1e3)
    b: float = Field(default=0.75, ge=0, le=1)
    measures: tuple[TextMeasure, ...] = Field(default=("bm25", "coverage", "matched"), min_length=1, max_length=4)

    @model_validator(mode="after")
    def _weights_and_measures(self) -> BM25Cross:
        texts = self.inputs[1:]
        if self.weights and len(self.weights) != len(texts):
            raise ValueError(
                f"weights {list(self.weights)} are {len(self.weights)} numbers for the {len(texts)} texts "
                f"{list(texts)}. Give one for each, or leave them out"
            )
        if len(set(self.measures)) != len(self.measures):
            raise ValueError(f"measures {list(self.measures)} name one twice. Name each once")
        return self

    @property
    def field_weights(self) -> tuple[float, ...]:
        """The weight of each text of the item."""
        return self.weights or (1.0,) * (len(self.inputs) - 1)


def _hashed_if_left_out(values: Any) -> Any:
    return {**values, "type": "hashed"} if isinstance(values, dict) and "type" not in values else values


CrossConfig = Annotated[
    Union[HashedCross, VocabularyCross, StatisticsCross, SimilarityCross, BM25Cross],
    Field(discriminator="type"),
    BeforeValidator(_hashed_if_left_out),
]
"""A cross of any kind; ``type`` may be left out for a hashed one."""
