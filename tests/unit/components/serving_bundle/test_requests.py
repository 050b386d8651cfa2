import numpy as np

from crossrec.components.serving_bundle.requests import concatenate, raw_batches, sample_rows
from tests.unit.components.records import write_records

KINDS = {"user": "string", "likes": "strings", "price": "float", "time": "int"}
ROWS = [
    {"user": "a", "likes": ["x"], "price": 1.5, "time": 7},
    {"user": None, "likes": None, "price": None, "time": None},
    {"user": "ü", "likes": ["x", "y", "z"], "price": -0.0, "time": -3},
    {"user": b"\xff", "likes": None, "price": 2.0, "time": 2**40, "other": 3},
    {"likes": ["q"]},
]


def equal(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if name == "price":
            np.testing.assert_array_equal(found[name], np.array(values, np.float32))
            assert found[name].dtype == np.float32
        else:
            assert found[name].tolist() == values, name


def test_missing_values_are_those_of_the_contract(tmp_path):
    (batch,) = raw_batches(write_records(tmp_path, ROWS), KINDS, 10)
    equal(
        batch,
        {
            "user": [b"a", b"", "ü".encode(), b"\xff", b""],
            "likes": [[b"x", b"", b""], [b"", b"", b""], [b"x", b"y", b"z"], [b"", b"", b""], [b"q", b"", b""]],
            "price": [1.5, np.nan, 0.0, 2.0, np.nan],
            "time": [7, 0, -3, 2**40, 0],
        },
    )
    assert batch["time"].dtype == np.int64


def test_batches_concatenate_to_the_whole_in_order(tmp_path):
    rows = ROWS * 5
    pattern = write_records(tmp_path, rows, 3)
    (whole,) = raw_batches(pattern, KINDS, 100)
    for size in (1, 2, 3, 7):
        batches = list(raw_batches(pattern, KINDS, size))
        assert [len(batch["user"]) for batch in batches[:-1]] == [size] * (len(batches) - 1)
        equal(concatenate(batches), {name: values.tolist() for name, values in whole.items()})


def test_a_column_without_any_value_has_no_width_or_is_missing(tmp_path):
    pattern = write_records(tmp_path, [{"user": "a"}, {"user": "b"}])
    (batch,) = raw_batches(pattern, KINDS, 10)
    assert batch["likes"].shape == (2, 0)
    wide = {"likes": np.array([[b"x", b"y"]], object)}
    joined = concatenate([{"likes": batch["likes"]}, wide])
    assert joined["likes"].tolist() == [[b"", b""], [b"", b""], [b"x", b"y"]]


def test_the_first_rows_are_the_sample(tmp_path):
    rows = [{"user": f"u{n}", "likes": ["x"] * (n % 3)} for n in range(600)]
    pattern = write_records(tmp_path, rows, 2)
    for count in (1, 256, 300, 600, 5000):
        sample = sample_rows(pattern, {"user": "string", "likes": "strings"}, count)
        assert [user.decode() for user in sample["user"]] == [row["user"] for row in rows[:count]]
        found = [[like for like in likes if like] for likes in sample["likes"].tolist()]
        assert found == [[b"x"] * (n % 3) for n in range(min(count, 600))]
