import numpy as np
import pytest

from crossrec.components.errors import DataError
from crossrec.components.evaluation import queries as queries_of
from crossrec.components.evaluation.config import EvaluationConfig, EvaluationRoles
from crossrec.components.evaluation.queries import read_queries
from tests.unit.components.records import write_records

ITEMS = np.array(["a", "b", "c", "d", "ü"], object)
ROLES = EvaluationRoles(user="u", item="i", timestamp="t", request="r", label="y")
COLUMNS = {"u": "string", "device": "string", "recent": "strings", "limit": "float", "t": "int"}


def row(user, item, time, request=None, label=1.0, device="pc", recent=()):
    return {"u": user, "i": item, "t": time, "r": request, "y": label, "device": device, "recent": list(recent)}


TRAIN = [row("x", "a", 1), row("x", "b", 2, label=0.0), row("y", "ü", 3), row("z", "gone", 4)]
VALIDATION = [row("x", "c", 10)]
TEST = [
    row("x", "d", 25, "r1", device="late", recent=["c", "a"]),
    row("x", "a", 20, "r1", device="first", recent=["c"]),
    row("x", "a", 26, "r2"),
    row("y", "b", 21, "r3", label=0.0, device="tv"),
    row("y", "a", 30, "r3", device="tablet"),
    row("y", "ü", 31, "r4"),
    row("z", "unknown item", 32, "r5"),
    row("z", "a", 33, "r6", label=0.0),
    row("y", "c", 34, None),
]


@pytest.fixture(scope="module")
def patterns(tmp_path_factory):
    root = tmp_path_factory.mktemp("queries")
    splits = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    return {split: write_records(root / split, rows, 2) for split, rows in splits.items()}


def read(patterns, roles=ROLES, **config):
    queries = read_queries(patterns, COLUMNS, roles, ITEMS, EvaluationConfig(**config))
    assert len(queries) == len(queries.relevant) == len(queries.excluded)
    assert set(queries.inputs) == set(COLUMNS)
    return queries


def lists(ragged):
    return [[str(ITEMS[i]) for i in ragged.items[a:b]] for a, b in zip(ragged.offsets, ragged.offsets[1:])]


def test_a_users_query_is_asked_at_their_first_row_and_wants_all_their_positives(patterns):
    queries = read(patterns)
    assert queries.inputs["u"].tolist() == [b"x", b"y"]
    assert lists(queries.relevant) == [["a", "d"], ["a", "c", "ü"]]
    assert lists(queries.excluded) == [[], []]
    assert queries.inputs["t"].tolist() == [20, 21]
    assert queries.inputs["device"].tolist() == [b"first", b"tv"]
    assert queries.inputs["recent"].tolist()[0][0] == b"c" and set(queries.inputs["recent"].tolist()[0][1:]) <= {b""}
    assert np.isnan(queries.inputs["limit"]).all()


def test_a_request_is_one_query_and_rows_of_no_request_are_none(patterns):
    queries = read(patterns, group_by="request")
    assert lists(queries.relevant) == [["a", "d"], ["a"], ["a"], ["ü"]]
    assert queries.inputs["u"].tolist() == [b"x", b"x", b"y", b"y"]
    assert queries.inputs["t"].tolist() == [20, 26, 21, 31]


def test_new_items_only_leaves_out_what_the_user_had(patterns):
    queries = read(patterns, new_items_only=True)
    assert lists(queries.relevant) == [["d"], ["a", "c"]]
    # A row without the label is no item that the user had, and the validation split counts.
    assert lists(queries.excluded) == [["a", "c"], ["ü"]]
    by_request = read(patterns, new_items_only=True, group_by="request")
    assert lists(by_request.relevant) == [["d"], ["a"]]
    assert lists(by_request.excluded) == [["a", "c"], ["ü"]]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_at_most_so_many_queries(patterns, most):
    every = read(patterns, group_by="request")
    some = read(patterns, group_by="request", max_queries=most)
    assert len(some) == most
    pairs = set(zip(every.inputs["t"].tolist(), map(tuple, lists(every.relevant))))
    assert set(zip(some.inputs["t"].tolist(), map(tuple, lists(some.relevant)))) <= pairs


def test_a_test_split_without_a_positive_that_counts_is_refused(patterns, tmp_path):
    nothing = write_records(tmp_path, [row("x", "a", 5), row("y", "b", 6, label=0.0)])
    with pytest.raises(DataError, match=r"evaluation: no row of the test split has 'y' = 1 and counts. Let"):
        read({**patterns, "test": nothing}, new_items_only=True)


@pytest.mark.parametrize("group", ["user", "request"])
@pytest.mark.parametrize("new_only", [False, True])
def test_queries_are_those_that_rows_in_memory_give(tmp_path, monkeypatch, group, new_only):
    """Many rows in several files, read in batches of seven, against sets and sorting."""
    monkeypatch.setattr(queries_of, "_BATCH", 7)
    rng = np.random.default_rng(0)
    rows = {}
    for split, count in {"train": 150, "validation": 40, "test": 200}.items():
        users, moments = rng.integers(0, 14, count), rng.integers(0, 9, count)
        rows[split] = [
            row(f"u{user}", str(rng.choice(["a", "b", "c", "d", "ü", "gone"])), int(moment), None if rng.random() < 0.1
                else f"{user} {moment}", float(rng.random() < 0.4), device=f"{place}")
            for place, (user, moment) in enumerate(zip(users, moments))
        ]  # fmt: skip
    patterns = {split: write_records(tmp_path / split, found, 3) for split, found in rows.items()}
    test = sorted(rows["test"], key=lambda each: each["t"])
    name, wanted, asked, had = "u" if group == "user" else "r", {}, {}, {}
    for each in rows["train"] + rows["validation"]:
        if each["y"] and each["i"] != "gone":
            had.setdefault(each["u"], set()).add(each["i"])
    for each in test:
        asked.setdefault(each[name], each)
        if each["y"] and each["i"] != "gone" and each[name] is not None:
            wanted.setdefault(each[name], set()).add(each["i"])
    if new_only:
        wanted = {key: items - had.get(asked[key]["u"], set()) for key, items in wanted.items()}
    wanted = {key: sorted(wanted[key]) for key in sorted(wanted) if wanted[key]}
    found = read(patterns, new_items_only=new_only, group_by=group)
    assert lists(found.relevant) == list(wanted.values())
    assert found.inputs["device"].tolist() == [asked[key]["device"].encode() for key in wanted]
    excluded = [sorted(had.get(asked[key]["u"], ())) if new_only else [] for key in wanted]
    assert lists(found.excluded) == excluded
