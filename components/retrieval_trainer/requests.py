"""Requests as training examples: what a user took at one moment, some of it as what is known, the rest as targets.

Rows of one moment share their query, so one example with several positives costs as much as a row. Moving a random
part of a request's items to its recent items teaches what goes together within a request; the multinomial likelihood
of the hidden part is that of Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from pydantic import Field

from crossrec.components.errors import DataError
from crossrec.components.features.frozen import Frozen
from crossrec.components.features.item_table import Array
from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP, USER, FeatureSchema
from crossrec.components.modeling.training import TrainingConfig

TARGETS = "@targets"
"""Item rows of a request's targets, int64 ``[B, targets]``, padded with -1."""


class RequestsConfig(Frozen):
    """Training on requests; ``training.batch_size`` then counts requests.

    Attributes:
        history: The feature of type ``recent_items`` that companions join.
        companions: Largest share of a request's items that become companions; the share is drawn anew each time,
            between 0 and this.
        targets: Most targets of an example; of a larger request a random part is taken each time.
        new_items_only: Whether what is in a request's history is no candidate, in the loss and in validation, because
            nothing is recommended that a user already has; for ``loss.negatives: catalogue``.
    """

    history: str = "recent_items"
    companions: float = Field(default=0.9, ge=0, lt=1)
    targets: int = Field(default=64, ge=1, le=4096)
    new_items_only: bool = False


@dataclass(frozen=True)
class Requests:
    """All requests of a split, in memory.

    Attributes:
        features: Query features ``{name: [requests, width]}``.
        users: Whose they are, int64 ``[requests]``.
        moments: Unix seconds, int64 ``[requests]``.
        starts: Where each request's items begin, int64 ``[requests + 1]``.
        items: Item rows, int64 ``[rows]``.
    """

    features: Mapping[str, Array]
    users: Array
    moments: Array
    starts: Array
    items: Array

    def __len__(self) -> int:
        return len(self.moments)

    def and_then(self, other: Requests) -> Requests:
        """These requests and others."""
        return Requests(
            {name: np.concatenate([values, other.features[name]]) for name, values in self.features.items()},
            np.concatenate([self.users, other.users]),
            np.concatenate([self.moments, other.moments]),
            np.concatenate([self.starts, self.starts[-1] + other.starts[1:]]),
            np.concatenate([self.items, other.items]),
        )


def read_requests(rows: tf.data.Dataset, names: Sequence[str]) -> Requests:
    """Groups positive rows by user and moment.

    Args:
        rows: Batches of positive rows; those of items that the catalogue does not know are left out.
        names: Query features to keep; those of a request's first row count.
    """
    keys, items, sources = [], [], []
    features: dict[str, list[Array]] = {name: [] for name in names}
    read = kept = 0
    for every in rows:
        known = every[ITEM_ROW].numpy()[:, 0] >= 0
        batch = {name: values.numpy()[known] for name, values in every.items()}
        key = np.concatenate([batch[USER], batch[TIMESTAMP]], 1)
        _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
        keys.append(key)
        items.append(batch[ITEM_ROW][:, 0])
        # Within a batch only the first row of each request keeps its features.
        sources.append(kept + group.reshape(-1))
        for name in names:
            features[name].append(batch[name][first])
        read, kept = read + len(key), kept + len(first)
    if not read:
        raise DataError("data.split", "the training split has no positive row", "Let the validation begin later.")
    key, source, item = np.concatenate(keys), np.concatenate(sources), np.concatenate(items)
    _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    return Requests(
        {name: np.concatenate(values)[source[first]] for name, values in features.items()},
        key[first, 0],
        key[first, 1],
        np.concatenate([[0], np.cumsum(np.bincount(group))]),
        item[order],
    )


def request_batches(
    requests: Requests, schema: FeatureSchema, config: RequestsConfig, training: TrainingConfig
) -> tf.data.Dataset:
    """Shuffled batches of requests, with companions and targets drawn anew in each pass.

    Args:
        requests: The requests.
        schema: Describes the features.
        config: Companions and targets.
        training: Size of a batch, and seed.

    Returns:
        Batches of query features ``[B, width]``, of ``USER`` and ``TIMESTAMP`` ``[B, 1]``, and of ``TARGETS``
        ``[B, targets]``.

    Raises:
        DataError: The feature that companions should join holds no recent items.
    """
    histories = [feature.name for feature in schema.side("query") if feature.kind == "items"]
    if config.history not in histories:
        raise DataError(
            "retrieval.requests.history",
            f"{config.history!r} is no feature of type recent_items",
            f"Name one of them: {', '.join(histories) or 'there is none; add one to features.query'}.",
        )
    passes = itertools.count()

    def one_pass() -> Iterator[dict[str, Array]]:
        rng = np.random.default_rng([training.seed, next(passes)])
        order = rng.permutation(len(requests))
        for start in range(0, len(order), training.batch_size):
            yield make_batch(requests, order[start : start + training.batch_size], config, rng)

    signature = {
        name: tf.TensorSpec([None, *values.shape[1:]], tf.as_dtype(values.dtype))
        for name, values in requests.features.items()
    }
    signature[USER] = signature[TIMESTAMP] = tf.TensorSpec([None, 1], tf.int64)
    signature[TARGETS] = tf.TensorSpec([None, config.targets], tf.int64)
    return tf.data.Dataset.from_generator(one_pass, output_signature=signature)


def make_batch(requests: Requests, chosen: Array, config: RequestsConfig, rng: np.random.Generator) -> dict[str, Array]:
    """One batch: the chosen requests, each with its items divided into companions and targets.

    Args:
        requests: All requests.
        chosen: Numbers of those of the batch, int64 ``[B]``.
        config: Companions and targets.
        rng: Source of chance.
    """
    sizes = np.diff(requests.starts)[chosen]
    owners = np.repeat(np.arange(len(chosen)), sizes)
    places = np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    items = requests.items[np.repeat(requests.starts[chosen], sizes) + places]
    # A random order within each request; then the first ones are companions, the next ones targets.
    items = items[np.lexsort((rng.random(len(items)), owners))]
    history = requests.features[config.history][chosen]
    wanted = np.floor(rng.random(len(chosen)) * config.companions * (sizes + 1)).astype(np.int64)
    companions = np.minimum(np.minimum(wanted, sizes - 1), history.shape[1])
    place_as_target = places - companions[owners]
    targets = np.full((len(chosen), config.targets), -1, np.int64)
    target = (place_as_target >= 0) & (place_as_target < config.targets)
    targets[owners[target], place_as_target[target]] = items[target]
    # Companions stand where the most recent items do, and move the others back.
    column = np.arange(history.shape[1])[None] - companions[:, None]
    moved = np.where(column >= 0, np.take_along_axis(history, np.maximum(column, 0), 1), -1)
    companion = place_as_target < 0
    moved[owners[companion], places[companion]] = items[companion]
    features = {name: values[chosen] for name, values in requests.features.items()}
    keys = {USER: requests.users[chosen][:, None], TIMESTAMP: requests.moments[chosen][:, None]}
    return {**features, **keys, config.history: moved, TARGETS: targets}
