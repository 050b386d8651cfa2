"""What a caller hands in and gets back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from types import MappingProxyType
from typing import Any, NamedTuple, Optional, Union

import numpy as np

Scalar = Union[str, float, int, None]
FeatureValue = Union[Scalar, Sequence[Scalar]]
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Request:
    """One user's request.

    Attributes:
        features: Value by input name. Left out or None means missing. Multi-valued inputs take a list
            (`recent_items`: most recent first).
        exclude_items: Item ids that must not be recommended.
        candidate_items: Item ids to score; for `rank` only.
        unit: Whom an experiment assigns to an arm, where that is none of the features, such as a cookie's id.
            It is not sent to the model.
        request_id: The caller's own id of the request, for exposure records. It is not sent to the model.

    Example:
        >>> Request({"user_id": "u17", "interests": ["sport"]}, exclude_items=["i4"]).features["user_id"]
        'u17'
    """

    features: Mapping[str, FeatureValue] = field(default_factory=dict)
    exclude_items: Sequence[str] = ()
    candidate_items: Sequence[str] = ()
    unit: Optional[str] = None
    request_id: Optional[str] = None


class Item(NamedTuple):
    """One item of an answer.

    Attributes:
        id: Item id.
        score: The higher, the better.
        attributes: The item's value of every further output of shape [B, N]: display columns as str,
            task probabilities as float.
    """

    id: str
    score: float
    attributes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class ItemList:
    """Items of one request, held as columns; `items` turns them into rows when it is asked.

    Attributes:
        ids: Item ids.
        scores: float32 [len(ids)].
        columns: Every further output by name, a sequence as long as `ids`.
        model_version: Version that gave the answer; 0 for a fallback.
        latency_ms: Time from the call's begin to its answer, in milliseconds; of the whole batch, with all attempts.
        attempts: Attempts that it took.
        fallback: Whether the client's fallback gave this answer, since no server did in time.
    """

    ids: tuple[str, ...]
    scores: "np.ndarray[Any, Any]"
    columns: Mapping[str, Sequence[Any]]
    model_version: int
    latency_ms: float
    attempts: int = 1
    fallback: bool = False

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """The same as rows."""
        names = tuple(self.columns)
        attributes: Iterable[Mapping[str, Any]]
        if not names:
            attributes = repeat(_EMPTY)
        elif len(names) == 1:
            name = names[0]
            attributes = [{name: value} for value in self.columns[name]]
        else:
            attributes = [dict(zip(names, row)) for row in zip(*self.columns.values())]
        # Past the constructor that NamedTuple writes, which takes three times as long.
        rows = map(tuple.__new__, repeat(Item), zip(self.ids, self.scores.tolist(), attributes))
        return tuple(rows)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


class Recommendations(ItemList):
    """Answer of `recommend` and `retrieve`: items by falling score, without padding."""


class Ranking(ItemList):
    """Answer of `rank`: the candidates in the order in which they were sent, each with its score."""


@dataclass(frozen=True)
class VersionStatus:
    """State of one version on a server.

    Attributes:
        version: Version number.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error_code: Number of the gRPC code of the version's error; 0 is none.
        error_message: Why it failed to load; empty where it did not.
    """

    version: int
    state: str
    error_code: int
    error_message: str
