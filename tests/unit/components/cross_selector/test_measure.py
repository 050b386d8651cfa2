"""What crosses cover in training."""

import numpy as np
import pytest

from crossrec.components.cross_selector.measure import _with_coverage, measure_crosses
from crossrec.components.features.schema import CrossOutput, add_crosses, build_schema
from tests.unit.components.transformed import CONFIG, CROSSES, ITEMS, TRAIN


def test_crosses_are_measured_on_the_rows_of_training(transformed):
    sizes = {"device": 6, "hashed": 32, "likes": 6, "words": 1000, "band": 5, "hour": 25, "gone_band": 11}
    sizes |= {"gone_text": 3, "item_id": 12, "brand": 5, "tags": 5}
    schema = add_crosses(build_schema(CONFIG.features, sizes, ("item_id", len(ITEMS)), CONFIG.labels), CROSSES)
    measured = measure_crosses(
        schema,
        transformed.table,
        f"{transformed.paths.examples['train']}/*",
        transformed.graph("query").transformed_feature_spec(),
    )
    brand = {item["item_id"]: item["brand"] if item["brand"] != "brand 2" else "unknown" for item in ITEMS}
    seen = {(row["device"], brand[row["item"]]) for row in TRAIN}
    cross = measured.cross("device_x_brand")
    assert abs(cross.distinct - len(seen)) <= max(2, 0.15 * len(seen))
    assert 0 <= cross.collision_rate < 0.3
    assert measured.model_copy(update={"crosses": schema.crosses}) == schema


@pytest.mark.parametrize("buckets", [64, 1024, 2**16])
def test_distinct_combinations_are_estimated_from_the_used_ids(buckets):
    rng = np.random.default_rng(buckets)
    distinct = buckets // 2
    used = len(np.unique(rng.integers(0, buckets, distinct)))
    cross = _with_coverage(CrossOutput(name="x", inputs=("a", "b"), side="query", buckets=buckets, width=1), used)
    assert abs(cross.distinct - distinct) < max(0.02 * distinct, 3 * np.sqrt(distinct) * 0.5)
    assert cross.collision_rate == pytest.approx(1 - used / cross.distinct, abs=1e-6)


@pytest.mark.parametrize("used", [0, 1, 64])
def test_coverage_has_a_value_at_its_ends(used):
    cross = CrossOutput(name="x", inputs=("a", "b"), side="query", buckets=64, width=1)
    found = _with_coverage(cross, used)
    assert found.distinct >= used and 0 <= found.collision_rate < 1
