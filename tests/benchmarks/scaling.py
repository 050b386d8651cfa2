"""How seconds and memory of each node grow with the data: the local pipeline on marketplaces of several sizes.

Every size runs in a process of its own. Before a node starts, memory that former nodes gave back is returned to the
system and the process's peak is reset; ``peak_mb`` is what the process then reached, ``grown_mb`` how much more that
is than what it held when the node began. A slope is that of a least-squares line through the logarithms of figure and
rows: 1 is linear. Both trainings take one epoch, so that sizes differ in nothing but their rows, and the catalogue
grows with the root of the rows, as `crossrec simulate` does by itself.
"""

import argparse
import contextlib
import ctypes
import gc
import json
import math
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.runs import COMMAND, environment, example

SIZES, SMALL_SIZES = (100_000, 1_000_000, 10_000_000), (4_000, 16_000)
KINDS = ("seconds", "cpu_seconds", "peak_mb", "grown_mb")
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MEGABYTE = 1024.0
_LEAST = {"seconds": 1.0, "cpu_seconds": 1.0, "peak_mb": 1.0, "grown_mb": 50.0}
_LOOK_SECONDS = 0.02


class Peak:
    """The highest resident memory of this process since ``reset``, in megabytes.

    The kernel keeps it; where it does not let its mark be reset, a thread looks every 20 ms and may miss a short peak.
    """

    def __init__(self) -> None:
        """Begins to look."""
        self._highest = 0.0
        try:
            _RESET.write_text("5", encoding="ascii")
            self.exact = True
        except OSError:
            self.exact = False
            threading.Thread(target=self._look, daemon=True).start()

    def reset(self) -> float:
        """Gives unused memory back, forgets the peak, and returns what is held now."""
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        if self.exact:
            _RESET.write_text("5", encoding="ascii")
        self._highest = _held("VmRSS")
        return self._highest

    def read(self) -> float:
        """The peak."""
        return _held("VmHWM") if self.exact else max(self._highest, _held("VmRSS"))

    def _look(self) -> None:
        while True:
            self._highest = max(self._highest, _held("VmRSS"))
            time.sleep(_LOOK_SECONDS)


def _held(field: str) -> float:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return float(line.split()[1]) / _MEGABYTE
    raise RuntimeError(f"{_STATUS} has no {field}: this benchmark needs Linux")


def _processor_seconds() -> float:
    """Seconds of all cores that this process and those that it has waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(spec: Path, data: Path, root: Path) -> dict[str, dict[str, float]]:
    """Runs a spec in this process; figures by node."""
    from crossrec.pipeline.dag import build, never_cached
    from crossrec.pipeline.local_runner import NodeResult, run_pipeline
    from crossrec.pipeline.locations import Locations
    from crossrec.pipeline.spec.load import load_spec

    loaded = load_spec(spec)
    peak, figures, held, spent = Peak(), {}, 0.0, 0.0

    def start(node: str) -> None:
        nonlocal held, spent
        held, spent = peak.reset(), _processor_seconds()

    def end(result: NodeResult) -> None:
        reached = peak.read()
        figures[result.node] = {
            "seconds": result.seconds,
            "cpu_seconds": _processor_seconds() - spent,
            "peak_mb": reached,
            "grown_mb": reached - held,
        }
        print(f"  {result.node:<28} {result.seconds:8.1f} s {reached:8.0f} MB {reached - held:+8.0f} MB", flush=True)

    run_pipeline(build(loaded, Locations(str(data), str(root))), start, end, never_cached(loaded))
    return figures


def run_size(rows: int, folder: Path, keep: bool) -> dict[str, dict[str, float]]:
    """Simulates a marketplace and measures the pipeline on it, in processes of their own."""
    data, root = folder / f"data-{rows}", folder / f"root-{rows}"
    if not data.exists():
        subprocess.run([*COMMAND, "simulate", str(data), "--rows", str(rows)], check=True, stderr=subprocess.DEVNULL)
    spec = example("marketplace")
    for section in ("retrieval", "ranking"):
        spec[section]["training"]["epochs"] = 1
    # It measures, and publishes whatever comes out.
    spec["evaluation"]["thresholds"] = []
    path, out = folder / f"spec-{rows}.json", folder / f"figures-{rows}.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    print(f"{rows:,} rows", flush=True)
    command = [sys.executable, "-m", "tests.benchmarks.scaling", "--measure", *map(str, (path, data, root, out))]
    with (folder / f"log-{rows}.txt").open("w") as log:
        done = subprocess.run(command, stderr=log)
    if done.returncode:
        raise RuntimeError(Path(log.name).read_text(encoding="utf-8")[-5_000:])
    if not keep:
        subprocess.run(["rm", "-rf", str(root), str(data)], check=True)
    figures: dict[str, dict[str, float]] = json.loads(out.read_text(encoding="utf-8"))
    return figures


def slope(rows: list[int], values: list[float], least: float) -> float | None:
    """Slope of the least-squares line through the logarithms; None where every value is below what can be told apart.

    Example:
        >>> slope([100, 1_000, 10_000], [3.0, 30.0, 300.0], 1.0)
        1.0
    """
    if len(rows) < 2 or max(values) < least:
        return None
    points = [(math.log(row), math.log(max(value, least))) for row, value in zip(rows, values)]
    mean_x, mean_y = (sum(column) / len(points) for column in zip(*points))
    above = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return round(above / sum((x - mean_x) ** 2 for x, _ in points), 3)


def draw(figures: dict[int, dict[str, dict[str, float]]], path: str) -> None:
    """Draws processor seconds and memory of each node against rows, on logarithmic axes, with a line of slope 1."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = sorted(figures)
    figure = Figure(figsize=(15, 6), layout="constrained")
    FigureCanvasAgg(figure)
    titles = {"cpu_seconds": "Processor seconds", "grown_mb": "Memory that the node adds, MB"}
    for axes, (kind, title) in zip(figure.subplots(1, 2), titles.items()):
        for place, node in enumerate(figures[rows[-1]]):
            values = [max(figures[size][node][kind], 0.05) for size in rows]
            axes.plot(rows, values, marker="o", linestyle="-" if place < 10 else "--", label=node)
        first = max(max(figures[rows[0]][node][kind] for node in figures[rows[0]]), 0.05)
        axes.plot(rows, [first * row / rows[0] for row in rows], color="0.8", linewidth=4, zorder=0, label="slope 1")
        axes.set(xscale="log", yscale="log", xlabel="interactions", title=title)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
    figure.savefig(path, dpi=110)


def summary(figures: dict[int, dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Flat figures: of the whole pipeline and of each node, by size, and their slopes."""
    rows = sorted(figures)
    out: dict[str, Any] = {}
    totals = {row: sum(node["seconds"] for node in figures[row].values()) for row in rows}
    peaks = {row: max(node["peak_mb"] for node in figures[row].values()) for row in rows}
    for row in rows:
        out |= {f"seconds@{row}": round(totals[row], 1), f"peak_mb@{row}": round(peaks[row])}
    out["seconds_slope"] = slope(rows, list(totals.values()), 1.0)
    out["peak_mb_slope"] = slope(rows, list(peaks.values()), 1.0)
    for node in figures[rows[-1]]:
        for kind in KINDS:
            values = [figures[row][node][kind] for row in rows]
            out |= {f"{node}/{kind}@{row}": round(value, 1) for row, value in zip(rows, values)}
            out[f"{node}/{kind}_slope"] = slope(rows, values, _LEAST[kind])
        if len(rows) > 1:
            grown = (figures[rows[-1]][node]["grown_mb"] - figures[rows[0]][node]["grown_mb"]) * 2**20
            out[f"{node}/bytes_per_row"] = round(max(grown, 0.0) / (rows[-1] - rows[0]), 1)
    return out


def main() -> None:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES), metavar="N")
    parser.add_argument("--small", action="store_true", help=f"{SMALL_SIZES[0]:,} and {SMALL_SIZES[1]:,} rows")
    parser.add_argument("--plot", metavar="FILE", help="draw the figures into a PNG file")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="work here and keep the data and the runs")
    parser.add_argument("--measure", type=Path, nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        spec, data, root, out = options.measure
        out.write_text(json.dumps(measure(spec, data, root)), encoding="utf-8")
        return
    sizes = SMALL_SIZES if options.small else tuple(sorted(options.rows))
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.dir or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        figures = {rows: run_size(rows, folder, options.dir is not None) for rows in sizes}
    if options.plot:
        draw(figures, options.plot)
    print(json.dumps({**summary(figures), **environment()}))


if __name__ == "__main__":
    main()
