"""Running a simulation: windows of time, one after another, to files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import vocabulary
from .catalogue import Catalogue, make_catalogue
from .clicks import CellCounts, behave
from .config import SECONDS_PER_DAY, SimulationConfig
from .output import INTERACTIONS, TRUTH_FILE, DailyWriter, TableWriter, atomic_folder, open_writer, write_chunk
from .policy import show
from .postings import Postings
from .queries import make_queries
from .sessions import SessionStream, window_count
from .tables import INTERACTIONS_SCHEMA, ITEMS_SCHEMA, interactions_table, items_table
from .truth import Truth, make_truth
from .users import make_users

Progress = Callable[[int, int], None]


def simulate(
    config: SimulationConfig, out: str | Path, *, overwrite: bool = False, progress: Progress | None = None
) -> Truth:
    """Simulate a marketplace and write it to a folder, which appears whole or not at all.

    The folder holds `interactions/part-*.parquet` (one row per impression, in the order of time; with `by_day` in
    `interactions/<date>/`), `items.parquet` and `truth.json`. State is kept per user and per item only; rows pass
    through in chunks, so that memory does
    not grow with their number.

    Args:
        config: the simulation's parameters; equal ones give equal bytes.
        out: the folder to make.
        overwrite: whether a former simulation there may be replaced.
        progress: called after every window with rows done and rows in all.

    Returns:
        What was planted, and totals; the same as in `truth.json`.

    Raises:
        SimulationError: the folder may not be written, or writing failed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     truth = simulate(SimulationConfig(rows=1_000), f"{folder}/market")
        >>> truth.totals["rows"]
        1000
    """
    with atomic_folder(Path(out), overwrite) as folder:
        catalogue = make_catalogue(config)
        _write_items(config, catalogue, folder)
        truth = _write_interactions(config, catalogue, folder, progress)
        (folder / TRUTH_FILE).write_text(truth.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return truth


def _write_items(config: SimulationConfig, catalogue: Catalogue, folder: Path) -> None:
    sink = open_writer(folder / f"items.{config.format}", ITEMS_SCHEMA, config.format)
    for begin in range(0, config.item_count, config.chunk_rows):
        write_chunk(sink, items_table(catalogue, begin, min(begin + config.chunk_rows, config.item_count)))
    sink.close()


def _writer(config: SimulationConfig, folder: Path) -> TableWriter | DailyWriter:
    def of_folder(place: Path) -> TableWriter:
        return TableWriter(place, INTERACTIONS_SCHEMA, config.format, config.chunk_rows, config.rows_per_file)

    return DailyWriter(folder, of_folder) if config.by_day else of_folder(folder)


def _write_interactions(
    config: SimulationConfig, catalogue: Catalogue, folder: Path, progress: Progress | None
) -> Truth:
    users = make_users(config)
    postings = Postings(catalogue)
    sizes = np.bincount(catalogue.category, minlength=len(vocabulary.CATEGORIES)).astype(np.float64)
    stream = SessionStream(config, users, sizes / sizes.sum())
    counts = CellCounts(config.seed)
    seen = np.zeros(config.user_count, dtype=bool)
    totals = {"rows": 0, "requests": 0, "clicks": 0, "purchases": 0}
    day, log_weights = -1, np.zeros(config.item_count)
    writer = _writer(config, folder / INTERACTIONS)
    try:
        for number in range(window_count(config)):
            rng = np.random.default_rng([config.seed, 3, number])
            requests = stream.window(number, rng)
            if not len(requests):
                continue
            today = int(requests["time"][0]) // SECONDS_PER_DAY
            if today != day:
                # Popularity drifts slowly; once a day keeps the cost per item independent of the number of rows.
                day = today
                log_weights = catalogue.log_weights(int(requests["time"][0]), config.days)
                postings.reweight(np.exp(log_weights))
            queries = make_queries(rng, requests, catalogue, postings)
            impressions = show(rng, requests, queries, users, (catalogue, postings, log_weights))
            request_side = (requests, queries, users)
            behaviour = behave(rng, impressions, request_side, catalogue, counts)
            writer.write(interactions_table(impressions, request_side, behaviour, totals["requests"]))
            seen[requests["user"]] = True
            totals["rows"] += len(impressions.item)
            totals["requests"] += len(requests)
            totals["clicks"] += int(behaviour.clicked.sum())
            totals["purchases"] += int(behaviour.purchased.sum())
            if progress is not None:
                progress(totals["rows"], config.rows)
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    return make_truth(config, {**totals, "users": int(seen.sum()), "items": config.item_count}, counts)
