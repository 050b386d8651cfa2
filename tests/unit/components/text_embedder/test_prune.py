"""Folders of encoders that are out of use leave the cache."""

import hashlib
import os

import pytest

from crossrec.components.text_embedder.prune import KEPT_RUNS, prune

DAY = 86_400


def digest(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def folders(cache):
    return {name for name in os.listdir(cache) if os.path.isdir(cache / name)}


def use(cache, *numbers, day):
    (cache / digest(numbers[0])).mkdir(parents=True, exist_ok=True)
    (cache / digest(numbers[0]) / "ab-1.vectors").write_bytes(b"vectors")
    return prune(str(cache), {digest(number) for number in numbers}, day * DAY + 1)


def test_encoders_of_the_last_runs_are_kept(tmp_path):
    for day in range(12):
        removed = use(tmp_path, day, day=day)
        assert removed == [digest(day - KEPT_RUNS)] * (day >= KEPT_RUNS)
    assert folders(tmp_path) == {digest(day) for day in range(12 - KEPT_RUNS, 12)}
    assert (tmp_path / digest(11) / "ab-1.vectors").exists()


def test_one_that_every_run_uses_is_kept_however_old_it_is(tmp_path):
    for day in range(12):
        use(tmp_path, 100, day, day=day)
    # Two encoders a run: as many folders as five such runs use.
    assert folders(tmp_path) == {digest(100), *(digest(day) for day in range(12 - 2 * KEPT_RUNS + 1, 12))}


def test_what_another_run_may_be_using_stays(tmp_path):
    for number in range(20):
        assert use(tmp_path, number, day=3) == []
    assert len(folders(tmp_path)) == 20
    assert len(use(tmp_path, 99, day=5)) == 21 - KEPT_RUNS


def test_a_run_that_comes_back_to_an_old_encoder_keeps_it(tmp_path):
    for day in range(KEPT_RUNS):
        use(tmp_path, day, day=day)
    assert use(tmp_path, 0, day=50) == []
    assert use(tmp_path, 77, day=52) == [digest(1)]
    marks = [name for name in os.listdir(tmp_path / digest(0)) if name.startswith("used-")]
    assert marks == [f"used-{50 * DAY + 1}"], "only the last use is written down"


def test_folders_that_no_run_has_marked_go_first_and_others_are_left_alone(tmp_path):
    (tmp_path / digest("of an older program")).mkdir()
    (tmp_path / "notes").mkdir()
    for day in range(10, 10 + KEPT_RUNS):
        use(tmp_path, day, day=day)
    assert folders(tmp_path) == {"notes", *(digest(day) for day in range(10, 10 + KEPT_RUNS))}


@pytest.mark.parametrize("digests", [set(), {digest(1)}])
def test_a_cache_that_is_not_there_yet(tmp_path, digests):
    assert prune(str(tmp_path / "cache"), digests, DAY) == []
