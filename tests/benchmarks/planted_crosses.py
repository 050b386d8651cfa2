"""What explicit crosses are worth where their effect is known: the simulated marketplace, with them and without.

For each seed a marketplace is simulated and the pipeline of the example runs twice on it: as it is, and with
``ranking.crosses: []``. Data, transform and retrieval model are the same in both runs.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

from tests.benchmarks.runs import COMMAND, environment, example, mean_and_sd, run

ROWS, SMALL_ROWS = 100_000, 10_000
METRICS = {"auc": "ranking/click/auc", "log_loss": "ranking/click/log_loss", "ndcg@10": "end_to_end/ndcg@10"}


def compare(seed: int, rows: int, folder: Path, small: bool) -> dict[str, float]:
    """The figures of one seed, with crosses, without, and of popularity."""
    data = folder / f"data-{seed}"
    subprocess.run([*COMMAND, "simulate", str(data), "--rows", str(rows), "--seed", str(seed)], check=True)
    spec = example("marketplace")
    for section in ("retrieval", "ranking"):
        spec[section]["training"]["seed"] = seed
        if small:
            spec[section]["training"]["epochs"] = 1
    crossed = run(spec, data, folder / f"root-{seed}")["metrics"]
    spec["ranking"]["crosses"] = []
    plain = run(spec, data, folder / f"root-{seed}")["metrics"]
    figures = {"popularity_ndcg@10": crossed["popularity/ndcg@10"]}
    for name, metric in METRICS.items():
        figures |= {name: crossed[metric], f"without_{name}": plain[metric]}
    return figures


def main() -> None:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--small", action="store_true", help=f"one seed, {SMALL_ROWS:,} rows, one epoch")
    options = parser.parse_args()
    seeds, rows = (1, SMALL_ROWS) if options.small else (options.seeds, options.rows)
    started = time.perf_counter()
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            measured = compare(seed, rows, Path(folder), options.small)
            print(f"seed {seed}: " + ", ".join(f"{name} {value:.4f}" for name, value in measured.items()), flush=True)
            for name, value in measured.items():
                figures.setdefault(name, []).append(value)
    gains = [a - b for a, b in zip(figures["auc"], figures["without_auc"])]
    result = {
        **mean_and_sd({**figures, "auc_gain": gains}),
        "auc_gain_min": round(min(gains), 5),
        "ndcg_times_popularity": round(sum(figures["ndcg@10"]) / max(sum(figures["popularity_ndcg@10"]), 1e-9), 2),
        "seeds": seeds,
        "rows": rows,
        "seconds": round(time.perf_counter() - started, 1),
    }
    print(json.dumps({**result, **environment()}))


if __name__ == "__main__":
    main()
