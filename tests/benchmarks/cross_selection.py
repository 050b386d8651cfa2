"""What the selection of crosses finds where the truth is known, and what it costs as rows grow.

For each seed a marketplace is simulated and crosses are selected from the candidate features of the marketplace
example, numeric ones at several granularities. A chosen cross is true if it is planted, a shadow if the simulation's
truth says that its pair inherits part of a planted one, unplanted if the model of clicks has that interaction without
its being planted (budget and price, query and what it asks for), else false.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossrec.components.cross_selector.auto import AutoCrosses
from crossrec.components.cross_selector.data import Array, Rows, make_sample
from crossrec.components.cross_selector.picture import draw
from crossrec.components.cross_selector.report import PICTURE, SelectionReport
from crossrec.components.cross_selector.select import Question, search_and_confirm
from crossrec.pipeline.simulation import SimulationConfig, Truth, load_truth, simulate
from crossrec.pipeline.simulation.output import INTERACTIONS
from tests.benchmarks.runs import environment, mean_and_sd

ROWS, SMALL_ROWS = 100_000, 30_000
LARGE = (100_000, 1_000_000, 10_000_000)
TRAIN = 0.8
GRANULARITIES = AutoCrosses().granularities
# What each candidate is a version of, by the columns of the truth.
COLUMNS = {"price_band": "price", "part_of_day": "timestamp", "hour": "timestamp"}

# What moves clicks jointly beside the planted crosses: see the simulation's clicks.
UNPLANTED = {
    frozenset(pair) for pair in (("price_max", "price"), ("query", "category"), ("query", "brand"), ("query", "title"))
}


def column_of(name: str) -> str:
    """The column that a candidate feature is made of."""
    return COLUMNS.get(name, name.split("_in_")[0])


def _codes(column: pa.ChunkedArray) -> Array:
    encoded = pc.dictionary_encode(column.combine_chunks())
    return np.asarray(pc.fill_null(encoded.indices, -2)).astype(np.int32) + 2


def _padded(column: pa.ChunkedArray, width: int) -> Array:
    lists = column.combine_chunks()
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)
    flat = _codes(pa.chunked_array([lists.flatten()]))
    row = np.repeat(np.arange(len(lists)), lengths)
    place = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    out = np.full((len(lists), width), -1, np.int16)
    kept = place < width
    out[row[kept], place[kept]] = flat[kept]
    return out


def _buckets(values: Array, count: int) -> Array:
    known = np.isfinite(values)
    inner = np.quantile(values[known], np.arange(1, count) / count)
    return np.where(known, 1 + np.searchsorted(inner, values, side="right"), 0).astype(np.int16)


def _numbers(column: pa.ChunkedArray) -> Array:
    return np.asarray(pc.fill_null(column.combine_chunks().cast(pa.float64()), math.nan))


def _words(column: pa.ChunkedArray, width: int) -> Array:
    lower = pc.utf8_lower(pc.fill_null(column, ""))
    return _padded(pa.chunked_array([pc.split_pattern(lower, " ").combine_chunks()]), width)


def read_rows(folder: Path) -> Rows:
    """The training part of a simulation, as the feature transform would give it."""
    parts = sorted((folder / INTERACTIONS).glob("part-*.parquet"))
    names = [name for name in pq.read_schema(parts[0]).names if name != "request_id"]
    table = pa.concat_tables([pq.read_table(part, columns=names) for part in parts])
    table = table.slice(0, int(TRAIN * len(table)))
    items = pq.read_table(folder / "items.parquet")
    item = np.asarray(pc.index_in(table["item_id"], value_set=items["item_id"].combine_chunks()))
    side = {name: _codes(items[name]) for name in ("item_id", "category", "brand")}
    side |= {"tags": _padded(items["tags"], 4), "title": _words(items["title"], 12)}
    price = _numbers(items["price"])
    seen = price[item]
    columns = {name: _codes(table[name]) for name in ("user_id", "user_segment", "user_country", "device")}
    columns |= {"interests": _padded(table["interests"], 4), "query": _words(table["query"], 8)}
    most = _numbers(table["price_max"])
    for count in GRANULARITIES:
        columns[f"price_max_in_{count}"] = _buckets(most, count)
    times = np.asarray(table["timestamp"])
    columns["part_of_day"] = (times // 21_600 % 4 + 1).astype(np.int8)
    columns |= {name: values[item] for name, values in side.items()}
    for name, count in [("price_band", 10), *((f"price_in_{count}", count) for count in GRANULARITIES)]:
        columns[name] = _buckets(seen, count)
    labels = {name: np.asarray(table[name]).astype(np.int8) for name in ("clicked", "purchased")}
    position = np.asarray(table["position"]).astype(np.int8)
    return Rows(columns, labels, times, columns["user_id"], np.arange(len(table)), {"@position": position})


def choose(folder: Path, auto: AutoCrosses) -> SelectionReport:
    """Selects crosses from a simulation."""
    started = time.monotonic()
    rows = read_rows(folder)
    cardinalities = {name: int(values.max()) + 1 for name, values in rows.columns.items()}
    asked = Question(auto, {name: column_of(name) for name in rows.columns}, (), cardinalities)
    sample = make_sample(rows)
    del rows
    return search_and_confirm(sample, asked, started)


def judge(report: SelectionReport, truth: Truth) -> dict[str, Any]:
    """Which planted crosses were found, and what else was chosen."""
    planted = {frozenset(axis.column for axis in cross.inputs): cross for cross in truth.crosses}
    shadows = {frozenset(pair) for pair in truth.shadows}
    chosen = [frozenset(column_of(name) for name in one.inputs) for one in report.crosses]
    detectable = [inputs for inputs, cross in planted.items() if cross.detectable]
    return {
        "found": sum(inputs in chosen for inputs in detectable) / max(len(detectable), 1),
        "missed": [planted[inputs].name for inputs in detectable if inputs not in chosen],
        "chosen": len(chosen),
        "shadows": [" x ".join(sorted(one)) for one in chosen if one in shadows],
        "unplanted": [" x ".join(sorted(one)) for one in chosen if one in UNPLANTED],
        "false": [" x ".join(sorted(one)) for one in chosen if one not in {*planted, *shadows, *UNPLANTED}],
    }


def one_seed(seed: int, rows: int, folder: Path) -> dict[str, Any]:
    """Simulates, selects and judges."""
    data = folder / f"data-{seed}"
    simulate(SimulationConfig(rows=rows, seed=seed), data)
    report = choose(data, AutoCrosses())
    report.write(str(data))
    (data / PICTURE).write_bytes(draw(report))
    result = judge(report, load_truth(data))
    print(f"seed {seed}: {json.dumps(result)}\n{report.markdown()}", flush=True)
    return {**result, "search_seconds": report.seconds}


def cost(rows: int, folder: Path) -> dict[str, float]:
    """Seconds and peak memory of a selection in a process of its own."""
    data = folder / f"cost-{rows}"
    simulate(SimulationConfig(rows=rows, seed=0), data)
    command = [sys.executable, "-m", "tests.benchmarks.cross_selection", "--select", str(data)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    print(f"{rows:,} rows: {json.dumps(figures)}", flush=True)
    return {name: figures[name] for name in ("seconds", "cpu_seconds", "memory_gb")}


def select_once(folder: Path) -> None:
    """Selects from a simulation with a budget that does not bind, and prints what it cost."""
    report = choose(folder, AutoCrosses(budget={"minutes": 10_000, "rows": 10**9}))
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "seconds": report.seconds,
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "memory_gb": round(used.ru_maxrss / 2**20, 2),
        "candidates": report.looked_at,
    }
    print(json.dumps({**judge(report, load_truth(folder)), **figures}))


def main() -> None:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--small", action="store_true", help=f"one seed, {SMALL_ROWS:,} rows, no cost by rows")
    parser.add_argument("--large", action="store_true", help="cost at 10 million rows too")
    parser.add_argument("--select", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.select:
        select_once(options.select)
        return
    seeds, rows = (1, SMALL_ROWS) if options.small else (options.seeds, options.rows)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        results = [one_seed(seed, rows, Path(folder)) for seed in range(options.first_seed, options.first_seed + seeds)]
        sizes = () if options.small else LARGE if options.large else LARGE[:2]
        costs = {size: cost(size, Path(folder)) for size in sizes}
    chosen = sum(result["chosen"] for result in results)
    figures: dict[str, Any] = mean_and_sd({name: [r[name] for r in results] for name in ("found", "search_seconds")})
    for kind in ("false", "shadows", "unplanted"):
        figures[kind] = sum(len(result[kind]) for result in results)
        figures[f"{kind}_share"] = round(figures[kind] / max(chosen, 1), 4)
    for size, measured in costs.items():
        figures |= {f"{name}@1e{round(math.log10(size))}": value for name, value in measured.items()}
    for small, large in zip(sizes, sizes[1:]):
        ratio = costs[large]["cpu_seconds"] / costs[small]["cpu_seconds"]
        figures[f"cpu_growth@1e{round(math.log10(large))}"] = round(ratio, 2)
    figures |= {"found_min": min(r["found"] for r in results), "chosen": chosen, "seeds": seeds, "rows": rows}
    print(json.dumps({**figures, "seconds": round(time.perf_counter() - started, 1), **environment()}))


if __name__ == "__main__":
    main()
