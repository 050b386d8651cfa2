"""A small marketplace that went through the whole feature transform once."""

import random
from dataclasses import dataclass
from pathlib import Path

import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam

from crossrec.components.feature_transform import catalogue
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.feature_transform.transform import TransformPaths, add_analysis, add_examples, read_counts
from crossrec.components.features.config import Categorical
from crossrec.components.features.crosses import HashedCross
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.preprocessing import cardinality
from crossrec.components.features.schema import add_crosses, build_schema
from tests.unit.components.records import write_records

PRICE = {"type": "numeric", "column": "price_max"}
CROSSES = (HashedCross(inputs=["device", "brand"]), HashedCross(inputs=["likes", "tags"]))
CONFIG = FeatureTransformConfig.model_validate(
    {
        "features": {
            "query": {
                "device": {"type": "categorical"},
                "hashed": {"type": "categorical", "column": "device", "hash_buckets": 31},
                "likes": {"type": "categorical", "multi_valued": True, "max_length": 3, "vocabulary": {"max_size": 4}},
                "words": {"type": "text", "column": "query", "max_tokens": 4, "ngrams": 2, "hash_buckets": 999},
                "plain": {**PRICE, "impute": "zero", "normalise": "none"},
                "by_median": {**PRICE, "normalise": "none"},
                "by_number": {**PRICE, "impute": -7.5, "normalise": "none"},
                "clipped": {**PRICE, "impute": 1000, "clip": [0, 50], "log": True, "normalise": "none"},
                "logged": {**PRICE, "impute": "zero", "log": True, "normalise": "none"},
                "z_score": {**PRICE, "impute": "mean"},
                "min_max": {**PRICE, "impute": "zero", "normalise": "min_max"},
                "constant": {"type": "numeric", "impute": "zero"},
                "band": {"type": "buckets", "column": "price_max", "count": 4},
                "gone_mean": {"type": "numeric", "column": "gone", "impute": "mean", "normalise": "none"},
                "gone_median": {"type": "numeric", "column": "gone", "normalise": "none"},
                "gone_band": {"type": "buckets", "column": "gone"},
                "gone_text": {"type": "categorical"},
                "hour": {"type": "time_part", "column": "timestamp", "part": "hour", "utc_offset_hours": 3},
                "recent_items": {"type": "recent_items", "max_length": 3},
            },
            "item": {
                "item_id": {"type": "categorical"},
                "brand": {"type": "categorical", "vocabulary": {"min_count": 3}},
                "tags": {"type": "categorical", "multi_valued": True, "max_length": 2},
                "price": {"type": "numeric", "impute": "zero", "normalise": "none"},
            },
        },
        "item_column": "item_id",
        "interaction_item_column": "item",
        "user_column": "user_id",
        "timestamp_column": "timestamp",
        "position_column": "position",
        "labels": ["clicked", "bought"],
        "positive_label": "clicked",
        "item_id_min_count": 3,
        "display": ["title", "tags"],
    }
)
ITEMS = [
    {
        "item_id": item,
        "brand": None if n % 5 == 4 else f"brand {n % 3}",
        "tags": [f"t{t}" for t in range(n % 4)],
        "price": None if n == 2 else n * 1.5,
        "title": None if n == 1 else f"Título {n} 商品",
    }
    for n, item in enumerate(sorted(["a", "b b", "c,", "dé", "e", "f", "g", "商品", "z", " lead"], key=str.encode))
]
NEVER_CLICKED = ITEMS[-1]["item_id"]
DEVICES = ["mobile"] * 8 + ["desktop"] * 4 + ["tablet"] * 2 + ["télé\U0001f4fa"]
QUERIES = ["Red Shoes", "大红袍 tea", "", None, "a b c d e f", b"\xff\xfe caf\xc3\xa9", "42", "naïve  NAÏVE"]


def make_rows(seed, count, start):
    """Random interactions; their times are all different, and so can tell them apart."""
    rng = random.Random(seed)
    rows = []
    for n in range(count):
        item = rng.choice(ITEMS)["item_id"]
        # One item is clicked twice in training, one never.
        clicked = rng.random() < 0.4 and item != NEVER_CLICKED and (item != "z" or n < 0)
        rows.append(
            {
                "user_id": f"u{rng.randrange(40)}",
                "item": item,
                "timestamp": start + n * 4001,
                "position": rng.randrange(1, 9),
                "clicked": float(clicked),
                "bought": float(clicked and rng.random() < 0.3),
                "device": rng.choice(DEVICES) if rng.random() < 0.8 else None,
                "likes": rng.choices(["x", "y", "ä", "w", "v"], k=rng.choice([0, 0, 1, 2, 3, 5])),
                "query": rng.choice(QUERIES),
                "price_max": None if rng.random() < 0.3 else float(round(rng.expovariate(0.02), 2)),
                "constant": 0.1,
                "gone": None,
                "gone_text": None,
                "recent_items": [rng.choice([i["item_id"] for i in ITEMS] + ["unknown"]) for _ in range(n % 6)],
            }
        )
    return rows


TRAIN = make_rows(1, 700, 1_600_000_000)
TRAIN += [{**TRAIN[n], "item": "z", "clicked": 1.0, "timestamp": 1_700_000_000 + n} for n in range(2)]
TEST = make_rows(2, 150, 1_800_000_000)
# Values that training never had.
TEST += [
    {**TEST[0], "timestamp": 1_900_000_000, "device": "fridge", "likes": ["new", "x"], "gone": 3.0, "constant": 5.0},
    {**TEST[0], "timestamp": 1_900_000_001, "device": None, "likes": [], "gone_text": "now", "price_max": 1e30},
    {**TEST[0], "timestamp": 1_900_000_002, "device": b"\xff\xfe", "likes": ["x", b"\xfe"], "price_max": -1e30},
]


@dataclass(frozen=True)
class Transformed:
    """What the transform left, and where its raw input lies."""

    paths: TransformPaths
    raw: dict[str, str]
    items: str
    table: ItemTable
    counts: dict[str, int]

    def graph(self, side):
        return tft.TFTransformOutput(f"{self.paths.graphs}/{side}")

    def columns(self, split):
        """Transformed columns of a split, in the order of time."""
        from crossrec.components.features.schema import TIMESTAMP
        from crossrec.components.modeling.inputs import read_batches

        spec = self.graph("query").transformed_feature_spec()
        (batch,) = read_batches(f"{self.paths.examples[split]}/*", spec, 10_000)
        order = batch[TIMESTAMP].numpy()[:, 0].argsort()
        return {name: values.numpy()[order] for name, values in batch.items()}


def run_transform(root):
    """Runs analysis, transform and catalogue on the small marketplace."""
    import apache_beam as beam

    raw = {"train": write_records(f"{root}/train", TRAIN, 3), "test": write_records(f"{root}/test", TEST)}
    items = write_records(f"{root}/items", ITEMS, 2)
    paths = TransformPaths(
        graphs=f"{root}/graphs",
        examples={split: f"{root}/transformed/{split}" for split in raw},
        temporary=f"{root}/temporary",
    )
    Path(paths.graphs).mkdir()
    ids = catalogue.read_item_columns(items, ["item_id"])["item_id"]
    catalogue.write_item_vocabulary(ids, paths.vocabulary)
    with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=paths.temporary, desired_batch_size=250):
        add_analysis(pipeline, CONFIG, raw["train"], items, paths)
    with beam.Pipeline() as pipeline:
        add_examples(pipeline, CONFIG, raw, paths)
    counts = read_counts(paths)
    table = catalogue.build_item_table(CONFIG, items, f"{paths.graphs}/item", counts)
    return Transformed(paths, raw, items, table, counts)


def make_schema(transformed):
    """The schema as the component's executor builds it."""
    cardinalities = {}
    for name, side, feature in CONFIG.features.items():
        vocabulary = None
        if isinstance(feature, Categorical) and feature.hash_buckets is None:
            vocabulary = transformed.graph(side).vocabulary_size_by_name(name)
        cardinalities[name] = cardinality(feature, vocabulary, len(ITEMS))
    schema = build_schema(CONFIG.features, cardinalities, ("item_id", len(ITEMS)), CONFIG.labels)
    return add_crosses(schema, CROSSES)
