"""What explicit crosses are worth where their effect is known: the simulated marketplace, with them and without.

For each seed a marketplace is simulated and the pipeline of the example runs twice on it: as it is, and with
``ranking.crosses: []``. Data, transform and retrieval model are the same in both runs.
"""

from pathlib import Path

from tests.benchmarks.runs import example, over_seeds, run, simulate

ROWS, SMALL_ROWS = 100_000, 10_000
METRICS = {"auc": "ranking/click/auc", "log_loss": "ranking/click/log_loss", "ndcg@10": "end_to_end/ndcg@10"}


def compare(seed: int, rows: int, folder: Path) -> dict[str, float]:
    """The figures of one seed, with crosses, without, and of popularity."""
    data, root = folder / f"data-{seed}", folder / f"root-{seed}"
    simulate(data, rows, seed)
    spec = example("marketplace")
    for section in ("retrieval", "ranking"):
        spec[section]["training"]["seed"] = seed
    crossed = run(spec, data, root)["metrics"]
    spec["ranking"]["crosses"] = []
    plain = run(spec, data, root)["metrics"]
    figures = {"popularity_ndcg@10": crossed["popularity/ndcg@10"]}
    for name, metric in METRICS.items():
        figures |= {name: crossed[metric], f"without_{name}": plain[metric]}
    return {**figures, "auc_gain": figures["auc"] - figures["without_auc"]}


def conclude(figures: dict[str, list[float]]) -> dict[str, float]:
    """The least gain, and how far the lists are ahead of popularity."""
    popularity = max(sum(figures["popularity_ndcg@10"]), 1e-9)
    return {
        "auc_gain_min": round(min(figures["auc_gain"]), 5),
        "ndcg_times_popularity": round(sum(figures["ndcg@10"]) / popularity, 2),
    }


if __name__ == "__main__":
    over_seeds(compare, (ROWS, SMALL_ROWS), __doc__, conclude)
