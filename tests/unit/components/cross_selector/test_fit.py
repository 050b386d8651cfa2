"""The fit of crosses on Beam, on a small marketplace that went through the feature transform."""

import collections
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest

from crossrec.components.cross_selector.fit import FitPlan, add_fit
from crossrec.components.features.crosses import HashedCross, StatisticsCross, VocabularyCross
from crossrec.components.features.crosses.fitting import fit_crosses
from crossrec.components.features.schema import FeatureSchema, add_crosses
from tests.unit.components.transformed import ITEMS, TRAIN, make_schema

CROSSES = (
    HashedCross(inputs=("device", "brand")),
    VocabularyCross(inputs=("device", "brand"), name="frequent", min_count=20),
    VocabularyCross(inputs=("likes", "tags"), name="all_likes", min_count=1, pairs="any"),
    StatisticsCross(inputs=("device", "brand"), parts=4),
    StatisticsCross(inputs=("item_id",), label="bought", parts=3, by="user"),
    StatisticsCross(inputs=("recent_items", "item_id"), statistics=("count",)),
)
BRANDS = {item["item_id"]: item["brand"] if item["brand"] != "brand 2" else "unknown" for item in ITEMS}
PAIRS = collections.Counter((row["device"], BRANDS[row["item"]]) for row in TRAIN)


@pytest.fixture(scope="module")
def fitted(transformed, tmp_path_factory):
    """The schema that Beam fitted, and the one that was fitted here, from batches of another size."""
    root = tmp_path_factory.mktemp("fit")
    schema = add_crosses(make_schema(transformed).model_copy(update={"crosses": ()}), CROSSES)
    table = str(root / "table")
    transformed.table.write(table)
    spec = transformed.graph("query").transformed_feature_spec()
    with beam.Pipeline() as pipeline:
        add_fit(
            pipeline,
            f"{transformed.paths.examples['train']}/*",
            FitPlan(schema, table, "clicked", spec),
            str(root),
        )
    columns = transformed.columns("train")
    rows = len(TRAIN)

    def batches():
        for start in range(0, rows, 97):
            yield {name: values[start : start + 97] for name, values in columns.items()}

    return FeatureSchema.read(str(root)), fit_crosses(schema, transformed.table.features, batches, "clicked")


def test_beam_and_one_process_fit_the_same(fitted):
    beam_schema, here = fitted
    assert beam_schema == here
    assert beam_schema.tables == here.tables and set(here.tables.arrays) == {c.name for c in CROSSES[1:]}


def test_combinations_are_counted_one_by_one(fitted):
    schema, _ = fitted
    for name in ("device_x_brand", "device_x_brand_statistics", "frequent"):
        assert schema.cross(name).distinct == len(PAIRS)
    rare = sum(count for count in PAIRS.values() if count < 5)
    assert schema.cross("device_x_brand").coverage == pytest.approx(1 - rare / len(TRAIN), abs=1e-6)


def test_a_vocabulary_has_the_frequent_combinations(fitted):
    schema, _ = fitted
    frequent = [count for count in PAIRS.values() if count >= 20]
    cross = schema.cross("frequent")
    assert cross.buckets == len(frequent) == len(schema.tables.arrays["frequent"]["keys"])
    assert cross.coverage == pytest.approx(sum(frequent) / len(TRAIN), abs=1e-6)
    assert sorted(schema.tables.arrays["frequent"]["ids"]) == list(range(1, len(frequent) + 1))


def test_statistics_hold_the_rows_and_the_labels_of_training(fitted):
    schema, _ = fitted
    arrays = schema.tables.arrays["device_x_brand_statistics"]
    assert sorted(arrays["values"][1:, -1, 0]) == sorted(PAIRS.values()) and arrays["values"][0, -1, 0] == 0
    clicks = sum(row["clicked"] for row in TRAIN)
    most = np.argmax(arrays["values"][:, -1, 0])
    (pair, count), *_ = PAIRS.most_common(1)
    own = sum(row["clicked"] for row in TRAIN if (row["device"], BRANDS[row["item"]]) == pair)
    prior = (clicks + 1) / (len(TRAIN) + 2)
    rate = (own + 20 * prior) / (count + 20)
    expected = np.log(rate / (1 - rate)) - np.log(prior / (1 - prior))
    assert arrays["values"][most, -1, 1] == pytest.approx(expected, rel=1e-5)
    times = np.sort([row["timestamp"] for row in TRAIN])
    assert arrays["boundaries"][-1] == times[-1] + 1
    shares = np.searchsorted(times, arrays["boundaries"]) / len(times)
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.75, 1.0], atol=2 / len(times))
    bought = schema.tables.arrays["item_id_statistics"]
    assert not len(bought["boundaries"]) and bought["values"].shape[1:] == (4, 2)
    # Each row is in one fold, and so all folds but that one see it.
    np.testing.assert_array_equal(bought["values"][:, :3, 0].sum(1), 2 * bought["values"][:, 3, 0])
    assert bought["values"][:, 3, 0].sum() == len(TRAIN)


def test_a_schema_without_crosses_is_written_as_it_is(transformed, tmp_path):
    schema = make_schema(transformed).model_copy(update={"crosses": ()})
    with beam.Pipeline() as pipeline:
        add_fit(pipeline, "nowhere/*", FitPlan(schema, "nowhere", "clicked", {}), str(tmp_path))
        pipeline | beam.Create([0])
    assert FeatureSchema.read(str(tmp_path)) == schema
    assert [path.name for path in Path(tmp_path).iterdir()] == ["features.json"]
