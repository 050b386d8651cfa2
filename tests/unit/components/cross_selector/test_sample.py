import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.cross_selector.candidates import search_field
from crossrec.components.cross_selector.data import Rows, make_sample
from crossrec.components.cross_selector.fan_out import BeamScreen
from crossrec.components.cross_selector.sample import (
    Limits,
    SampleInputs,
    read_sample,
    rows_in_memory,
    write_sample,
)
from crossrec.components.cross_selector.select import Question, search_and_confirm, select
from crossrec.components.errors import DataError
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.schema import ITEM_ROW, POSITION, TIMESTAMP, USER, FeatureOutput, FeatureSchema
from tests.unit.components.cross_selector.simulated import AutoCrosses, table
from tests.unit.components.records import write_records

beam = pytest.importorskip("apache_beam")

ITEMS, ROWS = 12, 6_000
FEATURES = {"device": ("query", 1, 5), "tags": ("query", 3, 6), "brand": ("item", 1, 5), "words": ("item", 2, 9)}
SPEC = {
    "device": tf.io.FixedLenFeature([1], tf.int64),
    "tags": tf.io.FixedLenFeature([3], tf.int64),
    "unused": tf.io.FixedLenFeature([1], tf.float32),
    ITEM_ROW: tf.io.FixedLenFeature([1], tf.int64),
    USER: tf.io.FixedLenFeature([1], tf.int64),
    TIMESTAMP: tf.io.FixedLenFeature([1], tf.int64),
    POSITION: tf.io.FixedLenFeature([1], tf.int64),
    "@label/clicked": tf.io.FixedLenFeature([1], tf.float32),
}
SCHEMA = FeatureSchema(
    raw_query={}, raw_item={}, crosses=(), items=ITEMS, item_column="item_id", labels=("clicked",),
    features=tuple(
        FeatureOutput(name=name, side=side, kind="ids", width=width, cardinality=size, multi_valued=width > 1)
        for name, (side, width, size) in FEATURES.items()
    ),
)  # fmt: skip


def item_table():
    rng = np.random.default_rng(0)
    words = rng.integers(-1, 9, (ITEMS + 1, 2))
    return ItemTable(
        ids=np.array([f"i{n}" for n in range(ITEMS)], object),
        features={"brand": (np.arange(ITEMS + 1) % 5)[:, None], "words": words},
        frequencies=np.arange(ITEMS),
        display={},
    )


def interactions(clicked=None):
    rng = np.random.default_rng(1)
    effects = table(4, 5, 5)
    rows = []
    for n in range(ROWS):
        device, item = int(rng.integers(0, 5)), int(rng.integers(-1, ITEMS))
        # The last row of the item table is the unknown item.
        logit = -1 + 1.5 * effects[device, (item if item >= 0 else ITEMS) % 5]
        rows.append(
            {
                "device": device,
                "tags": [int(v) for v in rng.integers(0, 6, 3)],
                "unused": 0.5,
                ITEM_ROW: item,
                USER: int(rng.integers(0, 200)),
                TIMESTAMP: 10**9 + 7 * n,
                POSITION: int(rng.integers(1, 9)),
                "@label/clicked": float(rng.random() < 1 / (1 + np.exp(-logit))) if clicked is None else clicked,
            }
        )
    return rows


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Interactions in one and in five files, and the items."""
    root = tmp_path_factory.mktemp("rows")
    item_table().write(f"{root}/items")
    rows = interactions()
    shuffled = [rows[at] for at in np.random.default_rng(5).permutation(ROWS)]
    write_records(f"{root}/one", rows)
    write_records(f"{root}/five", shuffled, 5)
    write_records(f"{root}/positive", interactions(1.0), 2)
    return root


def make(root, name, directory, limits=None):
    inputs = SampleInputs(f"{root}/{name}/*", f"{root}/items", SCHEMA, tuple(FEATURES), SPEC)
    write_sample(beam.Pipeline, inputs, limits or Limits(10**6, 8.0, 3), str(directory))
    return read_sample(str(directory))


def same(a, b):
    for task, other in zip(a.tasks, b.tasks):
        assert task.ends == other.ends
        for name, column in task.columns.items():
            np.testing.assert_array_equal(column, other.columns[name])
        np.testing.assert_array_equal(task.labels, other.labels)
        np.testing.assert_array_equal(task.users, other.users)


def test_columns_are_those_of_the_rows_joined_with_their_items_in_any_files(written, tmp_path):
    sample = make(written, "one", tmp_path / "a")
    rows, items = interactions(), item_table()
    at = np.array([row[ITEM_ROW] for row in rows])
    # Times differ, so the order of rows is known.
    columns = {
        "device": np.array([row["device"] for row in rows]),
        "tags": np.array([row["tags"] for row in rows]),
        "brand": items.features["brand"][at][:, 0],
        "words": items.features["words"][at],
    }
    times = np.array([row[TIMESTAMP] for row in rows])
    labels = {"clicked": np.array([row["@label/clicked"] for row in rows])}
    position = {POSITION: np.array([row[POSITION] for row in rows])}
    users = np.array([row[USER] for row in rows])
    same(sample, make_sample(Rows(columns, labels, times, users, times, position)))
    same(sample, make(written, "five", tmp_path / "b"))


def test_a_budget_of_rows_takes_a_sample_that_does_not_depend_on_files(written, tmp_path):
    few = Limits(1_500, 8.0, 3)
    sample = make(written, "one", tmp_path / "a", few)
    count = sum(sample.rows)
    assert abs(count - 1_500) < 5 * np.sqrt(1_500)
    same(sample, make(written, "five", tmp_path / "b", few))


def test_memory_limits_the_rows():
    # 1 + 3 + 1 + 2 values of one byte, twice, and sixteen numbers of eight bytes.
    assert rows_in_memory(SCHEMA, tuple(FEATURES), Limits(10**9, 1.0, 3)) == 2**30 // (2 * 7 + 128)
    assert rows_in_memory(SCHEMA, tuple(FEATURES), Limits(77, 1.0, 3)) == 77


def test_rows_without_a_negative_get_negatives_by_popularity(written, tmp_path):
    sample = make(written, "positive", tmp_path / "a")
    task = sample.tasks[0]
    assert task.ends[2] == 4 * ROWS
    assert task.labels.mean() == 0.25
    negative = task.labels == 0
    brands = sample.original["brand"][task.columns["brand"][negative]]
    share = np.bincount(brands, minlength=5) / len(brands)
    popularity = np.bincount(np.arange(ITEMS) % 5, np.arange(ITEMS)) / np.arange(ITEMS).sum()
    np.testing.assert_allclose(share, popularity, atol=0.02)
    # Each query is there once with its own item and three times with others.
    order = np.lexsort((task.labels,))
    positive = task.columns["device"][order[-ROWS:]]
    np.testing.assert_array_equal(
        3 * np.bincount(positive, minlength=6), np.bincount(task.columns["device"][negative], minlength=6)
    )


def test_rows_of_one_moment_are_refused_with_the_way_out():
    ones = np.ones(50, int)
    with pytest.raises(DataError, match="crosses.auto: the 50 rows .* too few moments .* 'explicit'"):
        make_sample(Rows({"a": ones}, {"clicked": ones % 2}, ones, ones, ones, {}))


def test_no_moment_lies_in_two_blocks():
    times = np.repeat([1, 2, 3, 4, 5], 20)
    n = np.arange(100)
    sample = make_sample(Rows({"a": n % 3}, {"clicked": n % 2}, times, n % 9, n, {}))
    assert sample.tasks[0].ends == (60, 80, 100)
    late = np.repeat([1, 2, 3], [50, 30, 20])
    assert make_sample(Rows({"a": n % 3}, {"clicked": n % 2}, late, n % 9, n, {})).tasks[0].ends == (50, 80, 100)


def test_workers_score_as_one_process_does_and_the_report_is_written(written, tmp_path):
    auto = AutoCrosses(max_order=3)
    sizes = {name: size for name, (_, _, size) in FEATURES.items()}
    asked = Question(auto, {name: name for name in FEATURES}, (), sizes)
    inputs = SampleInputs(f"{written}/five/*", f"{written}/items", SCHEMA, tuple(FEATURES), SPEC)
    (tmp_path / "out").mkdir()
    report = select(beam.Pipeline, inputs, asked, str(tmp_path / "out"), str(tmp_path / "work"))
    assert [one.inputs for one in report.crosses] == [("device", "brand")]
    assert report.crosses[0].gain.low > 0
    here = search_and_confirm(make(written, "one", tmp_path / "a"), asked, 1e18)
    assert here.model_copy(update={"seconds": report.seconds}) == report
    assert type(report).read(str(tmp_path / "out")) == report
    assert (tmp_path / "out" / "selection.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_screen_keeps_the_order_of_candidates(written, tmp_path):
    from crossrec.components.cross_selector.confirm import main_effects
    from crossrec.components.cross_selector.evaluate import Given, users_in_selection, worth

    sample = make(written, "one", tmp_path / "a")
    models = main_effects(sample, 1, 5)
    given = [Given(m.task, m.residual, m.curvature, m.logits[m.task.block(1)]) for m in models]
    names = [("device", "brand"), ("device", "tags"), ("brand", "words")] * 9
    scored = BeamScreen(beam.Pipeline, str(tmp_path / "a"), str(tmp_path / "t"), 5)(names, given, 2)
    users = users_in_selection(sample, 2)
    for one, value in zip(names, scored):
        expected = worth(search_field(sample, one), given, users, 5, 2)
        assert value == expected
