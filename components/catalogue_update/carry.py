"""Trained models for a catalogue that has grown: the same weights, and rows for the new items."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.features.item_table import Array, ItemTable
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.modeling import saving
from crossrec.components.modeling.fields import Fields
from crossrec.components.modeling.inputs import ItemFeatures
from crossrec.components.ranking_trainer import train as ranking
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.retrieval_trainer import train as retrieval
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.retrieval_trainer.negatives import Negatives

# The features of items are those of the new table, and what negatives are drawn by is for training only.
_OWN = (ItemFeatures, Negatives)


@dataclass(frozen=True)
class Catalogue:
    """What a model is built for.

    Attributes:
        schema: Describes the features.
        table: The items.
    """

    schema: FeatureSchema
    table: ItemTable


def carry_retrieval(source: str, target: str, before: Catalogue, now: Catalogue) -> None:
    """Writes the towers of a directory again, for another catalogue; those trained on validation too as well."""
    config, history = saving.read_config(source, RetrievalConfig), saving.read_history(source)
    towers = []
    for served in (False, True) if config.refit else (False,):
        former = retrieval.load(source, before.schema, before.table, served)
        towers.append(retrieval.build(now.schema, config, now.table))
        carry(towers[-1], former, before.table.items)
    retrieval.save(target, retrieval.TrainedTowers(towers[0], history, towers[1] if config.refit else None), config)


def carry_ranking(source: str, target: str, before: Catalogue, now: Catalogue) -> None:
    """Writes the ranking model of a directory again, for another catalogue."""
    config = saving.read_config(source, RankingConfig)
    former = ranking.build(before.schema, config, before.table)
    saving.restore(source, former)
    model = ranking.build(now.schema, config, now.table)
    carry(model, former, before.table.items)
    saving.save(target, model, config, saving.read_history(source))


def carry(model: Any, former: Any, items: int) -> None:
    """Gives a built model all that another one has learnt.

    Rows by item are those of the other one, and new items get what an item has that no training has seen: zeros as
    vectors, which is what such a vector is drawn around; the numbers of the unknown item where there are some for it.

    Args:
        model: The model; changed in place.
        former: The other one, of the same configuration, for the first ``items`` items of the same catalogue.
        items: Its items, without the unknown one.
    """
    parts, former_parts = _parts(model), _parts(former)
    if parts.keys() != former_parts.keys():
        raise ValueError(f"the models have other parts: {sorted(parts.keys() ^ former_parts.keys())[:3]}")
    for path, part in parts.items():
        if isinstance(part, Fields):
            part.take_all(former_parts[path])
        else:
            part.assign(_extended(former_parts[path].numpy(), tuple(part.value().shape), items, path))


def _extended(values: Array, shape: tuple[int, ...], items: int, path: str) -> Array:
    axes = [axis for axis, (old, new) in enumerate(zip(values.shape, shape)) if old != new]
    if not axes:
        return values
    (axis,) = axes
    size = values.shape[axis]
    if size not in (items, items + 1):
        raise ValueError(f"{path} has shape {values.shape}, not one for {items} items")
    known, unknown = np.split(values, [items], axis)
    one = unknown if size > items else np.zeros_like(np.take(values, [0], axis))
    return np.concatenate([known, np.repeat(one, shape[axis] - size, axis), unknown], axis)


def _parts(model: Any) -> dict[str, Fields | tf.Variable]:
    """A model's layers of fields, and its other variables, each by its path from the model."""
    found: dict[str, Fields | tf.Variable] = {}
    waiting = deque([("", model)])
    seen = {id(model)}
    while waiting:
        path, current = waiting.popleft()
        if isinstance(current, (Fields, tf.Variable)):
            found[path] = current
            continue
        for name, child in sorted(current._trackable_children().items()):
            if id(child) not in seen and not isinstance(child, _OWN):
                seen.add(id(child))
                waiting.append((f"{path}/{name}", child))
    return found
