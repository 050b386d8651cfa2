"""Which version comes and goes next, and what counts as a version. Needs no TensorFlow."""

import pytest

from crossrec.serving.local_server.policies import Action, State, VersionView, latest, next_action
from crossrec.serving.local_server.sources import FileSystemSource, ModelSource, versions_in
from crossrec.serving.local_server.statuses import invalid_argument, status_code


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([], None),
        ([VersionView(1, State.START, True)], (Action.LOAD, 1)),
        # The old one stays while the new one comes, fails, or has failed.
        ([VersionView(1, State.AVAILABLE, False), VersionView(2, State.START, True)], (Action.LOAD, 2)),
        ([VersionView(1, State.AVAILABLE, False), VersionView(2, State.LOADING, True)], None),
        ([VersionView(1, State.AVAILABLE, False), VersionView(2, State.END, True)], None),
        ([VersionView(1, State.AVAILABLE, False), VersionView(2, State.AVAILABLE, True)], (Action.UNLOAD, 1)),
        # Nothing is wanted: all go.
        ([VersionView(1, State.AVAILABLE, False)], (Action.UNLOAD, 1)),
        # Of two leftovers the lower goes even before the new one is there.
        (
            [
                VersionView(1, State.AVAILABLE, False),
                VersionView(2, State.AVAILABLE, False),
                VersionView(3, State.START, True),
            ],
            (Action.UNLOAD, 1),
        ),
        ([VersionView(4, State.START, True), VersionView(9, State.START, True)], (Action.LOAD, 9)),
        ([VersionView(1, State.UNLOADING, False), VersionView(2, State.AVAILABLE, True)], None),
    ],
)
def test_next_action(versions, expected):
    assert next_action(versions) == expected


@pytest.mark.parametrize(("count", "expected"), [(0, {9}), (1, {9}), (2, {9, 5}), (5, {9, 5, 1})])
def test_latest_takes_the_highest(count, expected, tmp_path):
    assert set(latest(count)({1: tmp_path, 9: tmp_path, 5: tmp_path})) == expected


def test_only_numbers_are_versions(tmp_path):
    for name in ("007", "12", "staging-9", ".tmp", "1.5", "-3", "x1", "٣", "99999999999999999999"):
        (tmp_path / name).mkdir()
    assert versions_in(tmp_path) == {7: tmp_path / "007", 12: tmp_path / "12"}


def test_one_missing_base_path_freezes_all_models(tmp_path):
    (tmp_path / "a" / "1").mkdir(parents=True)
    seen = []
    models = [ModelSource("a", tmp_path / "a"), ModelSource("b", tmp_path / "b")]
    source = FileSystemSource(models, 1, lambda name, versions: seen.append((name, set(versions))))
    assert source.poll() is False
    assert seen == []
    (tmp_path / "b").mkdir()
    assert source.poll() is True
    assert seen == [("a", {1}), ("b", set())]


def test_long_messages_are_cut_on_the_wire():
    assert invalid_argument("x" * 1024).wire_message == "x" * 1024
    assert invalid_argument("x" * 1025).wire_message == "x" * 1024 + "...TRUNCATED"


def test_codes_have_the_numbers_of_grpc():
    assert status_code(3).name == "INVALID_ARGUMENT"
    assert status_code(15).name == "DATA_LOSS"
    assert status_code(77).name == "UNKNOWN"
