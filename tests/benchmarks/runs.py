"""Pipeline runs as benchmarks make them: through the command line, in a process of their own."""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from crossrec.pipeline.spec.load import EXAMPLES

COMMAND = [sys.executable, "-m", "crossrec.pipeline.cli.main"]


def example(name: str) -> dict[str, Any]:
    """The content of an example's spec, to be changed."""
    return yaml.safe_load((EXAMPLES / name / "spec.yaml").read_text(encoding="utf-8"))


def run(spec: dict[str, Any], data: Path, root: Path) -> dict[str, Any]:
    """Runs a spec and returns its evaluation report.

    Raises:
        RuntimeError: The run failed; a bundle that is not blessed is no failure.
    """
    root.mkdir(parents=True, exist_ok=True)
    path = root / "spec.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "run", str(path), "--data", str(data), "--root", str(root)], capture_output=True, text=True
    )
    if done.returncode not in (0, 3):
        raise RuntimeError(done.stdout + done.stderr)
    report = newest_artifact(root, "Evaluation", "report", "report.json") / "report.json"
    return json.loads(report.read_text(encoding="utf-8"))


def newest_artifact(root: Path, component: str, output: str, file: str = "") -> Path:
    """The directory of the last artifact that a component made below a root; of those with a file, if it is named."""
    found = (root / "artifacts" / component / output).iterdir()
    return max((path for path in found if (path / file).exists()), key=lambda path: int(path.name))


def newest_bundle(root: Path) -> Path:
    """The bundle of the last run below a root, published or not."""
    return newest_artifact(root, "ServingBundle", "bundle")


def simulate(data: Path, rows: int, seed: int) -> None:
    """Makes the simulated marketplace in a folder."""
    subprocess.run(
        [*COMMAND, "simulate", str(data), "--rows", str(rows), "--seed", str(seed)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


Compare = Callable[[int, int, Path], dict[str, float]]
"""Measures one seed: seed, rows of the marketplace, folder for whatever is made."""


def over_seeds(
    compare: Compare,
    rows: tuple[int, int],
    description: str | None,
    conclude: Callable[[dict[str, list[float]]], dict[str, float]] = lambda figures: {},
) -> None:
    """The command line of a benchmark on simulated marketplaces; the last line that it prints is JSON.

    Args:
        compare: Measures one seed.
        rows: Of a full run, and of a small one.
        description: For ``--help``.
        conclude: Makes further figures of those of all seeds, which are beside the means.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=rows[0])
    parser.add_argument("--small", action="store_true", help=f"one seed, {rows[1]:,} rows")
    options = parser.parse_args()
    seeds, chosen = (1, rows[1]) if options.small else (options.seeds, options.rows)
    started = time.perf_counter()
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            measured = compare(seed, chosen, Path(folder))
            print(f"seed {seed}: {shown(measured)}", flush=True)
            for name, value in measured.items():
                figures.setdefault(name, []).append(value)
    result = {**mean_and_sd(figures), **conclude(figures), "seeds": seeds, "rows": chosen}
    print(json.dumps({**result, "seconds": round(time.perf_counter() - started, 1), **environment()}))


def shown(figures: dict[str, float]) -> str:
    """Figures in one line, for people."""
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


def mean_and_sd(figures: dict[str, list[float]]) -> dict[str, float]:
    """The mean of each figure over seeds, and beside it its standard deviation as ``…_sd``."""
    out = {}
    for name, values in figures.items():
        out[name] = round(statistics.fmean(values), 5)
        out[f"{name}_sd"] = round(statistics.stdev(values), 5) if len(values) > 1 else 0.0
    return out


def environment() -> dict[str, Any]:
    """Versions and machine, for the last line of a benchmark."""
    import os
    from importlib.metadata import version

    packages = {name: version(name) for name in ("tensorflow", "tfx", "numpy")}
    return {**packages, "python": platform.python_version(), "cores": os.cpu_count(), "machine": platform.machine()}
