"""The queries of the evaluation: what was known when they were asked, and what the user then wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crossrec.components.errors import DataError
from crossrec.components.evaluation.config import EvaluationConfig, EvaluationRoles
from crossrec.components.evaluation.metrics import RaggedItems
from crossrec.components.features.config import RawKind
from crossrec.components.features.item_table import Array
from crossrec.components.serving_bundle.requests import concatenate, raw_batches

_BATCH = 16_384


@dataclass(frozen=True)
class Queries:
    """Q queries.

    Attributes:
        inputs: Raw query inputs ``{column: [Q]}`` or ``[Q, K]``, as of the query's first row.
        relevant: Items wanted, by row of the item table.
        excluded: Items that must not be recommended.
    """

    inputs: dict[str, Array]
    relevant: RaggedItems
    excluded: RaggedItems

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


def read_queries(
    patterns: Mapping[str, str],
    columns: Mapping[str, RawKind],
    roles: EvaluationRoles,
    items: Array,
    config: EvaluationConfig,
) -> Queries:
    """Makes the queries of the test split.

    Args:
        patterns: Raw interactions of each split.
        columns: Raw columns of the query side.
        roles: Role columns.
        items: Item ids in the order of the item table, ascending.
        config: Grouping, exclusion, number of queries.

    Raises:
        DataError: The test split has no positive row that counts.
    """
    group_column = roles.user if config.group_by == "user" else roles.request
    known_items = {item.encode("utf-8"): row for row, item in enumerate(items)}
    rows = _read_roles(patterns["test"], roles, group_column, known_items)
    item_rows = rows[roles.item]
    # The first row of a group is the moment of the query: later rows may know its answers.
    order = np.argsort(rows[roles.timestamp], kind="stable")
    _, first, group = np.unique(rows[group_column][order], return_index=True, return_inverse=True)
    groups = np.empty(len(order), np.int64)
    groups[order] = group
    users = rows[roles.user][order[first]]
    # Rows without an id of their group belong to no query that was asked.
    positive = (rows[roles.label] > 0) & (item_rows >= 0) & (rows[group_column] != b"")
    pairs = np.unique(np.stack([groups[positive], item_rows[positive]], 1), axis=0)
    excluded = np.empty((0, 2), np.int64)
    if config.new_items_only:
        excluded = _earlier_pairs(patterns, roles, users, known_items)
        width = np.int64(len(items))
        known = np.isin(pairs[:, 0] * width + pairs[:, 1], excluded[:, 0] * width + excluded[:, 1])
        pairs = pairs[~known]
    wanted = np.unique(pairs[:, 0])
    if not len(wanted):
        raise DataError(
            "evaluation",
            f"no row of the test split has {roles.label!r} = 1 and counts",
            "Let the test split begin earlier.",
        )
    if len(wanted) > config.max_queries:
        wanted = wanted[np.linspace(0, len(wanted) - 1, config.max_queries).astype(np.int64)]
    return Queries(
        inputs=_read_rows(patterns["test"], columns, order[first[wanted]]),
        relevant=_select(pairs, wanted),
        excluded=_select(excluded, wanted),
    )


def _read_roles(
    pattern: str, roles: EvaluationRoles, group_column: str, items: Mapping[bytes, int]
) -> dict[str, Array]:
    """What decides which queries there are, of every row; ids that repeat are in memory once.

    The columns of the features, which take ten times as much, are read for the chosen rows only.
    """
    columns: dict[str, RawKind] = {
        roles.user: "string",
        roles.item: "string",
        roles.timestamp: "int",
        roles.label: "float",
        group_column: "string",
    }
    known: dict[bytes, bytes] = {}
    batches = []
    for batch in raw_batches(pattern, columns, _BATCH):
        batch[roles.item] = _lookup(items, batch[roles.item])
        for name in {roles.user, group_column}:
            shared = [known.setdefault(value, value) for value in batch[name]]
            batch[name][:] = shared
        batches.append(batch)
    return concatenate(batches)


def _read_rows(pattern: str, columns: Mapping[str, RawKind], places: Array) -> dict[str, Array]:
    """Some rows of a split.

    Args:
        pattern: Its files.
        columns: The columns to read.
        places: Numbers of the rows, int64 ``[Q]``, each once, in the order in which they are wanted.
    """
    ascending = np.argsort(places)
    ordered = places[ascending]
    kept, start = [], 0
    for batch in raw_batches(pattern, columns, _BATCH):
        end = start + len(next(iter(batch.values())))
        mine = ordered[np.searchsorted(ordered, start) : np.searchsorted(ordered, end)] - start
        kept.append({name: values[mine] for name, values in batch.items()})
        start = end
    found = concatenate(kept)
    back = np.empty(len(places), np.int64)
    back[ascending] = np.arange(len(places))
    return {name: values[back] for name, values in found.items()}


def _lookup(items: Mapping[bytes, int], ids: Array) -> Array:
    """Rows of item ids (bytes), -1 where unknown."""
    return np.fromiter((items.get(item, -1) for item in ids), np.int64, len(ids))


def _earlier_pairs(
    patterns: Mapping[str, str], roles: EvaluationRoles, users: Array, items: Mapping[bytes, int]
) -> Array:
    """(group, item row) of every positive before the test split; the groups are positions in ``users``."""
    by_user: dict[bytes, list[int]] = {}
    for group, user in enumerate(users):
        by_user.setdefault(user, []).append(group)
    columns: dict[str, RawKind] = {roles.user: "string", roles.item: "string", roles.label: "float"}
    found: set[tuple[int, int]] = set()
    for split in ("train", "validation"):
        for batch in raw_batches(patterns[split], columns, _BATCH):
            item_rows = _lookup(items, batch[roles.item])
            for row in np.flatnonzero((batch[roles.label] > 0) & (item_rows >= 0)):
                found.update((group, int(item_rows[row])) for group in by_user.get(batch[roles.user][row], ()))
    return np.array(sorted(found), np.int64).reshape(-1, 2)


def _select(pairs: Array, wanted: Array) -> RaggedItems:
    """The pairs of the wanted groups, numbered anew."""
    places = np.searchsorted(wanted, pairs[:, 0])
    kept = (places < len(wanted)) & (wanted[np.minimum(places, len(wanted) - 1)] == pairs[:, 0])
    return RaggedItems.from_pairs(places[kept], pairs[kept, 1], len(wanted))
