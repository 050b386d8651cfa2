"""Pipeline runs as benchmarks make them: through the command line, in a process of their own."""

import json
import platform
import statistics
import subprocess
import sys
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
    reports = (root / "artifacts" / "Evaluation" / "report").glob("*/report.json")
    newest = max(reports, key=lambda report: int(report.parent.name))
    return json.loads(newest.read_text(encoding="utf-8"))


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
