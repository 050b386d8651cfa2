from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crossrec.pipeline.simulation import SimulationConfig, SimulationError, load_truth, simulate

SMALL = SimulationConfig(rows=1_000, items=100)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_folder_is_filled_and_parents_are_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    simulate(SMALL, tmp_path / "empty")
    simulate(SMALL, tmp_path / "new" / "deep" / "er")
    assert content(tmp_path / "empty") == content(tmp_path / "new" / "deep" / "er")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["empty", "new"]
    assert sorted(content(tmp_path / "empty")) == ["interactions/part-00000.parquet", "items.parquet", "truth.json"]


def test_a_former_simulation_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulate(SMALL, out)
    before = content(out)
    with pytest.raises(SimulationError, match=r"out: is not empty; pass --overwrite"):
        simulate(SMALL, out)
    assert content(out) == before
    simulate(SimulationConfig(rows=1_000, items=100, seed=1, format="csv"), out, overwrite=True)
    assert load_truth(out).seed == 1
    assert sorted(content(out)) == ["interactions/part-00000.csv", "items.csv", "truth.json"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_what_is_no_simulation_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(SimulationError, match=r"holds 'thesis.txt', so it is not a former simulation"):
        simulate(SMALL, tmp_path, overwrite=True)
    with pytest.raises(SimulationError, match=r"thesis.txt: is not a folder"):
        simulate(SMALL, tmp_path / "thesis.txt")
    with pytest.raises(SimulationError, match=r"inside: cannot be written .*; name a folder that you may write to"):
        simulate(SMALL, tmp_path / "thesis.txt" / "inside")
    assert content(tmp_path) == {"thesis.txt": b"ten years of work"}
    (tmp_path / "half" / "interactions").mkdir(parents=True)
    with pytest.raises(SimulationError, match=r"has no truth.json"):
        simulate(SMALL, tmp_path / "half", overwrite=True)


@pytest.mark.parametrize("former", [False, True])
def test_an_interrupted_run_leaves_the_target_as_it_was(tmp_path: Path, former: bool) -> None:
    out = tmp_path / "out"
    if former:
        simulate(SMALL, out)
    before = content(out)

    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(SimulationConfig(rows=20_000), out, overwrite=True, progress=interrupt)
    assert content(out) == before
    assert [entry.name for entry in tmp_path.iterdir()] == (["out"] if former else [])


FULL_DISK = """
import resource, sys
from crossrec.pipeline.simulation import SimulationConfig, SimulationError, simulate
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    simulate(SimulationConfig(rows=50_000, format=sys.argv[2]), sys.argv[1])
except SimulationError as error:
    print(error)
"""


@pytest.mark.parametrize("form", ["parquet", "csv"])
@pytest.mark.parametrize("limit", [10_000, 200_000])
def test_a_write_that_fails_leaves_nothing_and_names_path_and_mend(tmp_path: Path, form: str, limit: int) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", FULL_DISK, str(out), form, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert f"{out}: writing failed" in done.stdout
    assert "Free space or name a folder on another disk" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
