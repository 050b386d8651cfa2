import numpy as np

from crossrec.components.cross_selector.data import Rows, make_sample
from crossrec.components.cross_selector.fields import CHUNK, Field, ServedCross, add_logits, chunks
from crossrec.components.features.crosses import cross_ids_numpy


def test_a_cross_is_numbered_by_its_place_in_the_full_table():
    columns = {"a": np.array([1, 0]), "m": np.array([[2, -1], [1, 0]]), "n": np.array([[0, 1], [-1, 1]])}
    assert Field(("a", "m"), (2, 3)).ids(columns, slice(0, 2)).tolist() == [[5, -1], [1, 0]]
    three = Field(("m", "a", "n"), (3, 2, 2)).ids(columns, slice(0, 2))
    # (m, a, n) is (m * 2 + a) * 2 + n, for every m and n of a row.
    assert three.tolist() == [[10, 11, -1, -1], [-1, 5, -1, 1]]


def test_large_crosses_are_hashed_into_a_bounded_table():
    rng = np.random.default_rng(0)
    columns = {"a": rng.integers(0, 40_000, 5_000), "b": rng.integers(0, 40_000, 5_000)}
    field = Field(("a", "b"), (40_000, 40_000))
    ids = field.ids(columns, slice(0, 5_000))
    assert field.size == 2**19 and ids.min() >= 0 and ids.max() < field.size
    # 5,000 combinations in 2^19 places: about 24 are expected to meet another.
    assert len(np.unique(ids)) > 4_900


def test_parts_of_a_stepped_slice_are_the_slice():
    rows = slice(3, 3 * CHUNK + 11, 2)
    everything = np.arange(rows.stop)
    parts = chunks(rows)
    assert len(parts) == 2
    np.testing.assert_array_equal(np.concatenate([everything[part] for part, _ in parts]), everything[rows])
    assert parts[-1][1].stop == len(everything[rows])


def test_logits_are_means_over_ids_and_padding_adds_nothing():
    columns = {"m": np.array([[0, 2], [1, -1], [-1, -1]])}
    logits = np.ones(3)
    add_logits(Field(("m",), (3,)), columns, slice(0, 3), np.array([1.0, 10.0, 100.0]), logits)
    assert logits.tolist() == [51.5, 11.0, 1.0]


def test_served_ids_are_those_of_the_transformed_data():
    rng = np.random.default_rng(2)
    raw = {"a": rng.choice([3, 17, 90], 900), "m": rng.choice([-1, 0, 5, 6], (900, 2))}
    times = np.arange(900)
    labels = rng.integers(0, 2, 900)
    sample = make_sample(Rows(raw, {"clicked": labels}, times, times % 7, times, {}))
    cross = ServedCross(("a", "m"), "salt", 64, sample.original)
    expected = cross_ids_numpy([raw["a"][:, None], raw["m"]], "salt", 64)
    np.testing.assert_array_equal(cross.ids(sample.tasks[0].columns, slice(0, 900)), expected)
