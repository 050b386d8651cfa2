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
    needed: dict[str, RawKind] = {
        **columns,
        roles.user: "string",
        roles.item: "string",
        roles.timestamp: "int",
        roles.label: "float",
    }
    group_column = roles.user if config.group_by == "user" else roles.request
    needed.setdefault(group_column, "string")
    rows = concatenate(list(raw_batches(patterns["test"], needed, _BATCH)))
    known_items = {item.encode("utf-8"): row for row, item in enumerate(items)}
    item_rows = _lookup(known_items, rows[roles.item])
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
        inputs={name: rows[name][order[first[wanted]]] for name in columns},
        relevant=_select(pairs, wanted),
        excluded=_select(excluded, wanted),
    )


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
