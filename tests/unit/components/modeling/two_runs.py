"""What two runs on data of two days left on disk: values, items and vocabularies come, go and move."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from crossrec.components.features.crosses import HashedCross, VocabularyCross
from crossrec.components.features.crosses.hashing import cross_keys_numpy
from crossrec.components.features.crosses.tables import CrossTables
from crossrec.components.features.crosses.vocabulary import make_vocabulary
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import FeatureSchema, add_crosses, build_schema
from crossrec.components.modeling.id_maps import Ids
from tests.unit.components.small_models import FEATURES

USERS = {"before": ["ann", "bob", "cas", "dee", "eve"], "now": ["eve", "new", "cas", "ann", "dee", "bob"]}
LIKES = {"before": ["red", "blue", "old"], "now": ["blue", "red"]}
TAGS = {"before": ["t1", "t2", "t3"], "now": ["t3", "t1", "t2"]}
ITEMS = {"before": ["i1", "i2", "i3", "i4"], "now": ["i0", "i1", "i3", "i4"]}
CROSSES = (
    HashedCross(inputs=["user", "likes"], buckets=2**20),
    HashedCross(inputs=["likes", "tags"], buckets=64, name="small"),
    VocabularyCross(inputs=["user", "tags"], min_count=1),
)


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run left on disk."""

    schema: FeatureSchema
    table: ItemTable
    root: Path

    @property
    def graphs(self) -> str:
        return str(self.root / "graphs")

    @property
    def ids(self) -> Ids:
        return Ids.of(self.schema, self.graphs, self.table)


def make_run(root: Path, when: str, crosses=CROSSES, items=None) -> Run:
    """Schema, catalogue and vocabularies of a run, with those in the places where tf.Transform has them."""
    items = ITEMS[when] if items is None else items
    vocabularies = {"user": USERS[when], "likes": LIKES[when], "tags": TAGS[when], "item_id": items}
    for side, names in (("query", ("user", "likes")), ("item", ("tags", "item_id"))):
        assets = root / "graphs" / side / "transform_fn" / "assets"
        assets.mkdir(parents=True)
        (root / "graphs" / side / "transformed_metadata").mkdir()
        for name in names:
            (assets / name).write_text("".join(f"{value}\n" for value in vocabularies[name]))
    cardinalities = {name: len(values) + 2 for name, values in vocabularies.items()} | {"recent_items": len(items)}
    schema = build_schema(FEATURES, cardinalities, ("item_id", len(items)), ("clicked", "bought"))
    schema = add_crosses(schema, crosses)
    fitted, tables = [], {}
    for cross in schema.crosses:
        if isinstance(cross.config, VocabularyCross):
            pairs = np.array(list(itertools.product(range(cardinalities["user"]), range(cardinalities["tags"]))))
            keys = cross_keys_numpy([pairs[:, :1], pairs[:, 1:]], cross.name)[:, 0]
            keys, ids = make_vocabulary(keys, 1 + np.arange(len(keys)) % 7, 1, 1000)
            tables[cross.name] = {"keys": keys, "ids": ids}
            cross = cross.model_copy(update={"buckets": len(keys)})
        fitted.append(cross)
    schema = schema.with_fitted(fitted, CrossTables(tables))
    rng = np.random.default_rng(0)
    ids = np.empty(len(items), object)
    ids[:] = items
    table = ItemTable(
        ids=ids,
        features={
            "item_id": np.append(np.arange(2, len(items) + 2), 1)[:, None],
            "tags": np.array([[2 + n % 3, -1] for n in range(len(items))] + [[-1, -1]]),
            "price": rng.normal(size=(len(items) + 1, 1)).astype(np.float32),
        },
        frequencies=np.ones(len(items), np.int64),
        display={},
    )
    schema.write(str(root / "graphs"))
    table.write(str(root / "items"))
    return Run(schema, table, root)


def place(values: list[str], value: str) -> int:
    """Id in a vocabulary: 0 is missing and 1 unknown."""
    return values.index(value) + 2 if value in values else -1
