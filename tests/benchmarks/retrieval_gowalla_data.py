"""Gowalla: the published split, as requests of the retrieval model and as lists to measure."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossrec.components.evaluation.metrics import RaggedItems, ranking_metrics
from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import FeatureSchema, build_schema
from crossrec.components.retrieval_trainer.requests import Requests

K = 20
HISTORY = 256
"""Recent items of a query; of users with more, a part drawn at random."""
FIRST_ID = 2
"""Ids of a vocabulary begin behind those of missing and unknown values."""
FEATURES = FeaturesConfig.model_validate(
    {
        "query": {
            "everyone": {"type": "categorical"},
            "recent_items": {"type": "recent_items", "max_length": HISTORY},
        },
        "item": {"item": {"type": "categorical"}},
    }
)


@dataclass(frozen=True)
class Split:
    """Items of each user, in two parts.

    Attributes:
      known: What training may see.
      wanted: What is to be found; of some users nothing.
      items: Items of the catalogue.
    """

    known: RaggedItems
    wanted: RaggedItems
    items: int

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.known.lengths)


def find_data(given: str | None = None) -> Path:
    """Find the folder of the two files under ``given`` or ``$CROSSREC_DATA``."""
    folder = given or os.environ.get("CROSSREC_DATA")
    if not folder:
        raise FileNotFoundError("CROSSREC_DATA: not set; set it to the folder with gowalla_m1/, or give --data")
    path = Path(folder) / "gowalla_m1"
    if not (path / "train.txt.gz").is_file():
        raise FileNotFoundError(f"{path}/train.txt.gz: missing; set CROSSREC_DATA to the folder with gowalla_m1/")
    return path


def read(path: Path) -> Split:
    """The published split: a line is a user and the user's items."""
    lists = []
    for name in ("train", "test"):
        with gzip.open(path / f"{name}.txt.gz", "rt") as file:
            lines = [np.array(line.split(), np.int64) for line in file]
        by_user = {int(line[0]): line[1:] for line in lines}
        lists.append(by_user)
    users = 1 + max(max(by_user) for by_user in lists)
    known, wanted = ([by_user.get(user, ()) for user in range(users)] for by_user in lists)
    items = 1 + max(int(entry.max()) for by_user in lists for entry in by_user.values() if len(entry))
    return Split(RaggedItems.from_lists(known), RaggedItems.from_lists(wanted), items)


def slice_of(split: Split, users: int) -> Split:
    """The first users, and the items that they know: a small task of the same kind."""
    known = [split.known.items[a:b] for a, b in zip(split.known.offsets[:users], split.known.offsets[1:])]
    wanted = [split.wanted.items[a:b] for a, b in zip(split.wanted.offsets[:users], split.wanted.offsets[1:])]
    items = np.unique(np.concatenate(known))
    place = np.full(split.items, -1)
    place[items] = np.arange(len(items))
    found = [place[entry][place[entry] >= 0] for entry in wanted]
    return Split(RaggedItems.from_lists([place[entry] for entry in known]), RaggedItems.from_lists(found), len(items))


def hold_out(split: Split, share: float, tilt: float, seed: int) -> Split:
    """A part of what is known of each user becomes what is wanted; the test's items are gone.

    Args:
        split: The published split.
        share: Of each user's items.
        tilt: An item's chance grows with this power of its number of users; 0 is an even draw.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    popularity = np.bincount(split.known.items, minlength=split.items) ** tilt
    known, wanted = [], []
    for start, end in zip(split.known.offsets, split.known.offsets[1:]):
        items = split.known.items[start:end]
        # The first of waiting times with these rates are a draw without replacement (Efraimidis, Spirakis 2006).
        items = items[np.argsort(rng.exponential(size=len(items)) / popularity[items])]
        count = round(len(items) * share)
        wanted.append(items[:count])
        known.append(items[count:])
    return Split(RaggedItems.from_lists(known), RaggedItems.from_lists(wanted), split.items)


def schema_of(split: Split) -> FeatureSchema:
    """Recent items and item ids, and one id that all users have."""
    cardinalities = {"everyone": FIRST_ID + 1, "item": split.items + FIRST_ID, "recent_items": split.items}
    return build_schema(FEATURES, cardinalities, ("item", split.items), ("interaction",))


def table_of(split: Split) -> ItemTable:
    """The catalogue; the unknown item has the id of unknown values."""
    ids = np.empty(split.items, object)
    ids[:] = [f"{item:06}" for item in range(split.items)]
    rows = np.append(np.arange(split.items) + FIRST_ID, FIRST_ID - 1)
    frequencies = np.bincount(split.known.items, minlength=split.items)
    return ItemTable(ids, {"item": rows[:, None]}, frequencies, {})


def everyone(users: np.ndarray) -> np.ndarray:
    """The one id, int64 [B, 1]."""
    return np.full([len(users), 1], FIRST_ID)


def histories(split: Split, users: np.ndarray) -> np.ndarray:
    """What is known of users as recent items, int64 [B, HISTORY]."""
    rows = np.full([len(users), HISTORY], -1, np.int64)
    for place, user in enumerate(users):
        items = np.random.default_rng(user).permutation(_known(split, user))[:HISTORY]
        rows[place, : len(items)] = items
    return rows


def everything_known(split: Split, users: np.ndarray) -> np.ndarray:
    """What is no candidate of users, int64 [B, most], padded with -1."""
    lists = [_known(split, user) for user in users]
    rows = np.full([len(users), max(map(len, lists))], -1, np.int64)
    for place, items in enumerate(lists):
        rows[place, : len(items)] = items
    return rows


def _known(split: Split, user: int) -> np.ndarray:
    return split.known.items[split.known.offsets[user] : split.known.offsets[user + 1]]


def training_requests(split: Split) -> Requests:
    """One request per user who knows something, with all of it as its items; the loop makes some its history."""
    lengths = split.known.lengths
    users = np.flatnonzero(lengths)
    nothing = np.broadcast_to(np.int64(-1), [len(users), HISTORY])
    return Requests(
        {"everyone": everyone(users), "recent_items": nothing},
        users,
        np.zeros(len(users), np.int64),
        np.concatenate([[0], np.cumsum(lengths[users])]),
        split.known.items,
    )


def asked(split: Split, users: np.ndarray) -> Requests:
    """Requests of users of whom something is wanted, with all that is known as their history."""
    users = users[split.wanted.lengths[users] > 0]
    lengths = split.wanted.lengths[users]
    items = [split.wanted.items[split.wanted.offsets[user] : split.wanted.offsets[user + 1]] for user in users]
    return Requests(
        {"everyone": everyone(users), "recent_items": histories(split, users)},
        users,
        np.zeros(len(users), np.int64),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate(items),
    )


def measure(top: np.ndarray, split: Split, users: np.ndarray) -> dict[str, float]:
    """Mean recall and NDCG of lists [Q, K] of users."""
    wanted = [split.wanted.items[split.wanted.offsets[user] : split.wanted.offsets[user + 1]] for user in users]
    found = ranking_metrics(top, RaggedItems.from_lists(wanted), [K])
    return {name: float(np.nanmean(found[name])) for name in (f"recall@{K}", f"ndcg@{K}")}


def by_popularity(split: Split, users: np.ndarray) -> np.ndarray:
    """The most frequent items that each user does not know, int64 [Q, K]."""
    order = np.argsort(-np.bincount(split.known.items, minlength=split.items), kind="stable")
    longest = int(split.known.lengths.max())
    out = np.empty([len(users), K], np.int64)
    for place, user in enumerate(users):
        head = order[: longest + K]
        out[place] = head[~np.isin(head, _known(split, user))][:K]
    return out
