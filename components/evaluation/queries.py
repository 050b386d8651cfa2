"""The queries of the evaluation: what was known when they were asked, and what the user then wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from crossrec.components.errors import DataError
from crossrec.components.evaluation.config import EvaluationConfig, EvaluationRoles
from crossrec.components.evaluation.metrics import RaggedItems
from crossrec.components.features.config import RawKind
from crossrec.components.features.item_table import Array
from crossrec.components.features.sorted_keys import find
from crossrec.components.serving_bundle.requests import concatenate, raw_batches

_BATCH = 4_096
_EARLIER = ("train", "validation")


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

    The split is read several times, so that besides the queries only ids are held: of the groups with a positive, and
    with ``new_items_only`` of their users and items.

    Args:
        patterns: Raw interactions of each split.
        columns: Raw columns of the query side.
        roles: Role columns.
        items: Item ids in the order of the item table, ascending.
        config: Grouping, exclusion, number of queries.

    Raises:
        DataError: The test split has no positive row that counts.
    """
    known_items = {item.encode("utf-8"): row for row, item in enumerate(items)}
    source = _Source(patterns, roles, roles.user if config.group_by == "user" else roles.request, known_items)
    wanted = _groups_with_new_items(source) if config.new_items_only else _groups_with_positives(source)
    if not len(wanted):
        raise DataError(
            "evaluation",
            f"no row of the test split has {roles.label!r} = 1 and counts",
            "Let the test split begin earlier.",
        )
    if len(wanted) > config.max_queries:
        wanted = wanted[np.linspace(0, len(wanted) - 1, config.max_queries).astype(np.int64)]
    first, users, pairs = _asked(source, wanted)
    excluded = RaggedItems.from_lists([[]] * len(wanted))
    if config.new_items_only:
        excluded = _had_before(source, users)
        had = excluded.row_of_item * len(items) + excluded.items
        pairs = pairs[~np.isin(pairs[:, 0] * len(items) + pairs[:, 1], had)]
    return Queries(
        inputs=_read_rows(patterns["test"], columns, first),
        relevant=RaggedItems.from_pairs(pairs[:, 0], pairs[:, 1], len(wanted)),
        excluded=excluded,
    )


@dataclass(frozen=True)
class _Source:
    """Rows with what decides which queries there are.

    Attributes:
        patterns: Raw interactions of each split.
        roles: Role columns.
        group: The column whose value rows of one query share.
        items: Row of the item table of each item's id.
    """

    patterns: Mapping[str, str]
    roles: EvaluationRoles
    group: str
    items: Mapping[bytes, int]

    def rows(self, split: str) -> Iterator[dict[str, Array]]:
        """All rows of a split; ids of users and groups as bytes without an object for each, items by their row."""
        roles = self.roles
        columns: dict[str, RawKind] = {
            roles.user: "string",
            roles.item: "string",
            roles.timestamp: "int",
            roles.label: "float",
            self.group: "string",
        }
        for batch in raw_batches(self.patterns[split], columns, _BATCH):
            ids = (self.items.get(item, -1) for item in batch[roles.item])
            batch[roles.item] = np.fromiter(ids, np.int64, len(batch[roles.item]))
            for name in {roles.user, self.group}:
                batch[name] = batch[name].astype("S")
            yield batch

    def positives(self, split: str) -> Iterator[tuple[Array, Array, Array]]:
        """Group, user and item of the rows of a split that are hits."""
        for batch in self.rows(split):
            hits = self.hits(batch)
            yield batch[self.group][hits], batch[self.roles.user][hits], batch[self.roles.item][hits]

    def hits(self, batch: Mapping[str, Array]) -> Array:
        """Which rows of a batch are positives of a known item; bool ``[B]``."""
        hits: Array = (batch[self.roles.label] > 0) & (batch[self.roles.item] >= 0)
        return hits


def _groups_with_positives(source: _Source) -> Array:
    """Ids of the groups of the test split that have a positive, ascending."""
    found = np.empty(0, "S1")
    waiting: list[Array] = []
    for groups, _, _ in source.positives("test"):
        waiting.append(np.unique(groups))
        # What was found is sorted again only when it may have doubled.
        if sum(map(len, waiting)) > len(found):
            found, waiting = np.unique(np.concatenate([found, *waiting])), []
    return _asked_for(np.concatenate([found, *waiting]))


def _groups_with_new_items(source: _Source) -> Array:
    """As ``_groups_with_positives``, but items that their user had before do not count."""
    groups, users, items = (np.concatenate(part) for part in zip(*source.positives("test")))
    known_users, numbers = np.unique(users, return_inverse=True)
    width = len(source.items)
    keys, places = np.unique(numbers * width + items, return_inverse=True)
    had = np.zeros(len(keys), bool)
    for split in _EARLIER:
        for _, earlier, rows in source.positives(split):
            user = find(known_users, earlier)
            found = find(keys, np.where(user >= 0, user * width + rows, -1))
            had[found[found >= 0]] = True
    return _asked_for(groups[~had[places]])


def _asked_for(groups: Array) -> Array:
    """Each group once: rows without an id of their group belong to no query that was asked."""
    found: Array = np.unique(groups[groups != b""])
    return found


def _asked(source: _Source, wanted: Array) -> tuple[Array, Array, Array]:
    """The moments of queries, and what was wanted.

    Args:
        source: The rows.
        wanted: Ids of the queries' groups, ascending, ``[Q]``.

    Returns:
        Number of each query's first row in time, ``[Q]``: later rows may know its answers; that row's user, ``[Q]``;
        and pairs of query and item, int64 ``[n, 2]``.
    """
    first = np.zeros(len(wanted), np.int64)
    times = np.full(len(wanted), np.iinfo(np.int64).max)
    users = np.full(len(wanted), b"", object)
    pairs = [np.empty((0, 2), np.int64)]
    start = 0
    for batch in source.rows("test"):
        query, time = find(wanted, batch[source.group]), batch[source.roles.timestamp]
        rows = np.flatnonzero(query >= 0)
        rows = rows[np.argsort(time[rows], kind="stable")]
        _, places = np.unique(query[rows], return_index=True)
        rows = rows[places]
        rows = rows[time[rows] < times[query[rows]]]
        times[query[rows]], first[query[rows]] = time[rows], start + rows
        users[query[rows]] = batch[source.roles.user][rows]
        hits = source.hits(batch) & (query >= 0)
        pairs.append(np.stack([query[hits], batch[source.roles.item][hits]], 1))
        start += len(query)
    return first, users.astype("S"), np.unique(np.concatenate(pairs), axis=0)


def _had_before(source: _Source, users: Array) -> RaggedItems:
    """Items of every positive before the test split of the queries' users ``[Q]``."""
    distinct, numbers = np.unique(users, return_inverse=True)
    pairs = [np.empty((0, 2), np.int64)]
    for split in _EARLIER:
        for _, earlier, items in source.positives(split):
            user = find(distinct, earlier)
            pairs.append(np.stack([user, items], 1)[user >= 0])
    found = np.concatenate(pairs)
    of_user = RaggedItems.from_pairs(found[:, 0], found[:, 1], len(distinct))
    return RaggedItems.from_lists([of_user.rows(user, user + 1).items for user in numbers])


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
