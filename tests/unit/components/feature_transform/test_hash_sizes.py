"""``hash_buckets: auto``: the count is right, the bound holds, and the features become those of a written number."""

import math

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.feature_transform.distinct import DistinctCount
from crossrec.components.feature_transform.hash_sizes import SHARE, buckets_for, with_hash_sizes
from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.preprocessing import cardinality
from tests.unit.components.records import write_records


def hashes(values):
    return tf.strings.to_hash_bucket_fast([str(value) for value in values], 2**62).numpy()


@pytest.mark.parametrize("values", [0, 1, 10, 1_000, 40_000, 100_000, 1_000_000])
def test_the_estimate_is_within_four_standard_errors(values):
    count = DistinctCount()
    count.add(hashes(range(values)))
    assert count.estimate() == pytest.approx(values, rel=4 * 1.04 / math.sqrt(2**14))


def test_order_repetition_and_division_among_workers_do_not_matter():
    every = hashes(range(50_000))
    whole, parts = DistinctCount(), [DistinctCount() for _ in range(3)]
    whole.add(every)
    for number, part in enumerate(parts):
        part.add(every[::-1][number * 10_000 : 30_000 + number * 10_000])
        part.add(every[:5])
    merged = DistinctCount()
    for part in reversed(parts):
        merged.merge(part)
    assert merged.estimate() == whole.estimate()


@pytest.mark.parametrize("values", [10, 700, 30_000, 300_000])
def test_the_share_of_values_with_an_id_of_another_one_stays_below_the_bound(values):
    _, places, counts = np.unique(hashes(range(values)) % buckets_for(values), return_inverse=True, return_counts=True)
    shared = float((counts[places] > 1).mean())
    # Three standard deviations of a share, where few values make it uncertain.
    assert shared <= SHARE + 3 * math.sqrt(SHARE * (1 - SHARE) / values)


@pytest.mark.parametrize("values", [700, 30_000, 300_000])
def test_half_as_many_would_not_do(values):
    assert 1.0 - math.exp(-1.05 * values / (buckets_for(values) / 2)) > SHARE


def test_limits():
    assert buckets_for(0) == buckets_for(1) == 16
    assert buckets_for(1e12) == 2**30


FEATURES = {
    "query": {
        "user_id": {"type": "categorical", "hash_buckets": "auto"},
        "likes": {"type": "categorical", "multi_valued": True, "hash_buckets": 64},
        "query": {"type": "text", "max_tokens": 4, "ngrams": 2, "hash_buckets": "auto"},
        "device": {"type": "categorical"},
    },
    "item": {
        "item_id": {"type": "categorical"},
        "shop": {"type": "categorical", "column": "seller", "hash_buckets": "auto"},
        "title": {"type": "text", "max_tokens": 3, "hash_buckets": "auto"},
    },
}


@pytest.fixture
def files(tmp_path):
    rows = [
        {"user_id": f"u{n % 300}", "likes": ["a"], "query": f"red shoe {n % 500}", "device": "web"}
        for n in range(1_000)
    ]
    items = [{"item_id": f"i{n}", "seller": f"s{n % 20}", "title": f"Shoe {n % 9}"} for n in range(100)]
    return {"query": write_records(tmp_path / "train", rows, 3), "item": write_records(tmp_path / "items", items, 2)}


def test_each_auto_becomes_the_number_that_its_values_need(files, tmp_path):
    found = with_hash_sizes(FeaturesConfig.model_validate(FEATURES), files, beam.Pipeline, str(tmp_path / "temporary"))
    # Words: red, shoe and 500 numbers; pairs: red shoe and 500 with a number.
    words = buckets_for(2 + 500 + 1 + 500)
    written = {side: {name: dict(feature) for name, feature in part.items()} for side, part in FEATURES.items()}
    written["query"]["user_id"]["hash_buckets"] = buckets_for(300)
    written["item"]["shop"]["hash_buckets"] = buckets_for(20)
    # The titles have a dozen words, but share them with the queries.
    written["query"]["query"]["hash_buckets"] = written["item"]["title"]["hash_buckets"] = words
    assert found == FeaturesConfig.model_validate(written)
    assert cardinality(found.query["user_id"], None, 100) == buckets_for(300) + 1


def test_without_auto_nothing_is_read():
    written = {"query": {"user_id": {"type": "categorical"}}, "item": {"item_id": {"type": "categorical"}}}
    features = FeaturesConfig.model_validate(written)
    assert with_hash_sizes(features, {"query": "nowhere/*", "item": "nowhere/*"}, pytest.fail, "nowhere") == features


def test_a_transform_with_an_open_number_is_refused():
    with pytest.raises(ValueError, match="hash_buckets is still 'auto'"):
        cardinality(FeaturesConfig.model_validate(FEATURES).query["user_id"], None, 100)
