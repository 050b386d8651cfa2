"""Ids that nothing is known of: how a tower learns to do without them.

An id that training never saw has a vector that means nothing. Here such ids count as nothing, and a share of all ids
is dropped in training, so that content has to carry what the id would. Volkovs, Yu, Poutanen: "DropoutNet: Addressing
Cold Start in Recommender Systems", NIPS 2017.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf
from pydantic import Field

from crossrec.components.errors import DataError
from crossrec.components.features.frozen import Frozen
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.modeling.inputs import Tensors

_FIRST_KNOWN = 2


class ColdStartConfig(Frozen):
    """Which features name a user or an item, so that others must stand in where the name is new.

    Attributes:
        features: Features with ids by vocabulary, in which 0 is missing and 1 unknown; both count as nothing, as does
            the id of an item that had no positive in training.
        dropout: Share of the rows of training that lose all of them.
    """

    features: tuple[str, ...] = Field(min_length=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)


def hide_unknown(features: Tensors, config: ColdStartConfig, training: bool | None) -> dict[str, tf.Tensor]:
    """The features, with -1 in place of ids that are missing, unknown or dropped.

    Args:
        features: ``{name: [B, width]}``.
        config: Which of them, and how often.
        training: Whether ids are dropped.
    """
    out = dict(features)
    rows = tf.shape(features[config.features[0]])[0]
    dropped = tf.random.uniform([rows, 1]) < config.dropout if training and config.dropout else None
    for name in config.features:
        hidden = features[name] < _FIRST_KNOWN
        if dropped is not None:
            hidden |= dropped
        out[name] = tf.where(hidden, tf.constant(-1, features[name].dtype), features[name])
    return out


def without_unseen(table: ItemTable, config: ColdStartConfig | None) -> ItemTable:
    """The table, with -1 in place of the ids of items that had no positive in training."""
    if config is None:
        return table
    unseen = np.append(table.frequencies == 0, True)[:, None]
    hidden = {name: np.where(unseen, -1, table.features[name]) for name in config.features}
    return replace(table, features={**table.features, **hidden})


def check_ids(schema: FeatureSchema, config: ColdStartConfig) -> None:
    """Looks whether the features have ids.

    Raises:
        DataError: One of them has none.
    """
    plain = {feature.name: feature.kind for feature in schema.features}
    for name in config.features:
        if plain.get(name) != "ids":
            raise DataError(
                "retrieval cold_start.features",
                f"{name!r} has no ids of its own to do without",
                "Name categorical features with a vocabulary, no numbers and no crosses.",
            )
