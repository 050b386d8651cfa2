"""Training examples per second of DCN-V2 and DeepFM beside deepctr-torch: same sizes, same threads, one run.

Both sides train on batches that lie ready in memory, in turns, each in a process of its own. The peer needs
Python 3.11 with ``torch`` and ``deepctr-torch`` in an environment of its own, named by ``--peer``; without
it only this side is measured.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PEER = Path(__file__).with_name("ranking_speed_peer.py")
SIZES = {
    # The sizes of Frappe_x1 in the open benchmark; and a catalogue of a million ids.
    "small table": {"fields": 10, "ids": 538, "dimension": 10, "layers": [400, 400, 400], "crosses": 3},
    "large table": {"fields": 20, "ids": 50_000, "dimension": 16, "layers": [256, 128], "crosses": 2},
}


def ours(task: dict[str, Any]) -> dict[str, Any]:
    """Trains the project's ranking model and returns its rate; the process is this one's child."""
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(task["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(task["threads"])
    from crossrec.components.features.config import FeaturesConfig
    from crossrec.components.features.item_table import ItemTable
    from crossrec.components.features.schema import ITEM_ROW, WEIGHT, build_schema, label_key
    from crossrec.components.modeling import runtime
    from crossrec.components.modeling.lazy_adam import LazyAdam
    from crossrec.components.ranking_trainer.config import RankingConfig
    from crossrec.components.ranking_trainer.train import build

    runtime.prepare()
    count, ids, batch = task["fields"], task["ids"], task["batch"]
    names = [f"f{n}" for n in range(count - 1)]
    kind = {"type": "categorical", "hash_buckets": ids - 1}
    features = FeaturesConfig.model_validate({"query": {n: kind for n in names}, "item": {"item": kind}})
    schema = build_schema(features, dict.fromkeys([*names, "item"], ids), ("item", ids - 1), ("label",))
    rows = np.empty(ids - 1, object)
    rows[:] = [str(n) for n in range(ids - 1)]
    table = ItemTable(rows, {"item": np.arange(ids)[:, None]}, np.ones(ids - 1, np.int64), {})
    interaction: dict[str, Any] = {"type": task["model"], "deep": {"layers": task["layers"]}}
    if task["model"] == "dcn_v2":
        interaction["cross_layers"] = task["crosses"]
    config = RankingConfig.model_validate(
        {
            "features": [*names, "item"],
            "crosses": [],
            "position_bias": False,
            "embedding_dimension": task["dimension"],
            "interactions": [interaction],
            "tasks": [{"name": "label"}],
        }
    )
    model = build(schema, config, table)
    model.compile(optimizer=LazyAdam(1e-3))
    model.optimizer.build(model.trainable_variables)
    random = np.random.default_rng(0)
    batches = []
    for _ in range(8):
        made = {name: random.integers(0, ids, (batch, 1)) for name in names}
        made[ITEM_ROW] = random.integers(0, ids - 1, (batch, 1))
        made[label_key("label")] = random.integers(0, 2, (batch, 1)).astype(np.float32)
        made[WEIGHT] = np.ones((batch, 1), np.float32)
        batches.append({name: tf.constant(values) for name, values in made.items()})
    step = model.make_train_function()

    def run(steps: int) -> None:
        source = iter([batches[number % len(batches)] for number in range(steps)])
        for _ in range(steps):
            step(source)

    run(task["warm_up"])
    started = time.perf_counter()
    run(task["steps"])
    rate = task["steps"] * batch / (time.perf_counter() - started)
    return {"rate": rate, "parameters": sum(int(np.prod(w.shape)) for w in model.trainable_variables)}


def measure(command: list[str], task: dict[str, Any]) -> dict[str, Any]:
    """Runs one side in a process of its own."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(task["threads"])}
    done = subprocess.run([*command, json.dumps(task)], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, help="Python of an environment with torch and deepctr-torch")
    parser.add_argument("--seeds", type=int, default=3, help="rounds; the figures are medians")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--small", action="store_true", help="one round, few steps")
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        print(json.dumps(ours(json.loads(options.ours))))
        return
    from tests.benchmarks.runs import environment

    rounds, steps = (1, 5) if options.small else (options.seeds, 60)
    sides = {"ours": [sys.executable, "-m", "tests.benchmarks.ranking_speed", "--ours"]}
    if options.peer:
        sides["peer"] = [str(options.peer), str(PEER)]
    result: dict[str, Any] = {"threads": options.threads, "batch": 4096, "rounds": rounds}
    for size, sizes in SIZES.items():
        for model in ("dcn_v2", "deep_fm"):
            task = {**sizes, "model": model, "batch": 4096, "steps": steps, "warm_up": 5, "threads": options.threads}
            rates: dict[str, list[float]] = {side: [] for side in sides}
            parameters = {}
            for _ in range(rounds):
                for side, command in sides.items():
                    measured = measure(command, task)
                    rates[side].append(measured["rate"])
                    parameters[side] = measured["parameters"]
            medians = {side: statistics.median(values) for side, values in rates.items()}
            key = f"{model}_{size.replace(' ', '_')}"
            result |= {f"{key}_{side}": round(value) for side, value in medians.items()}
            line = ", ".join(f"{side} {medians[side]:,.0f}/s ({parameters[side]:,} parameters)" for side in sides)
            if options.peer:
                result[f"{key}_ratio"] = round(medians["ours"] / medians["peer"], 3)
                line += f", ratio {result[f'{key}_ratio']}"
            print(f"{model}, {size}: {line}", flush=True)
    print(json.dumps({**result, **environment()}))


if __name__ == "__main__":
    main()
