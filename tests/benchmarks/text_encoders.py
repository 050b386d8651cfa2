"""Text encoders, adapted in each way there is: how well each finds what was clicked, its time and its size.

On the simulated marketplace pairs of a query and the title that was clicked for it are learnt from, the same ones by
all; then the clicks of the last fifth of the time are looked for, among all titles, by the cosine of the exported
encoder's vectors. Compared are MiniLM-L6 as it is, with low-rank adapters, and with all of its weights trained; the
small encoder with random weights, trained from scratch, and taught by MiniLM-L6. Some are stored as float16 and int8
too. The small encoder costs so little that it is trained on every pair as well. Processor time is that of one thread.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from crossrec.components.text import hugging_face
from crossrec.components.text.config import EncoderTrainingConfig, TextEncoderConfig
from crossrec.components.text.export import export, load_encoder
from crossrec.components.text.network import EncoderNetwork
from crossrec.components.text.projection import fit_projection
from crossrec.components.text_embedder.embed import embed
from crossrec.components.text_encoder.batches import Embedder, Tokens
from crossrec.components.text_encoder.distil import distil, teacher_targets
from crossrec.components.text_encoder.retrieved import reciprocal_ranks
from crossrec.components.text_encoder.train import TextPairs, fit_pairs
from tests.benchmarks.runs import environment, shown, simulate
from tests.benchmarks.search_chorus_encoders import PACKAGE, new_network, pretrained_directory

ROWS, SMALL_ROWS = 100_000, 3_000
PAIRS, SMALL_PAIRS = 1_500, 128
PRECISIONS = ("float32", "float16", "int8")
COMPRESSED = ("frozen", "small")
"""The encoders that are stored in each precision; the others as float32 only."""
TRAIN_UNTIL, K = 0.8, 10
_QUERIES_TIMED, _BATCHES_TIMED, _BATCH = 60, 10, 64


class Market:
    """Texts of a simulated marketplace, and which of them belong together.

    Attributes:
        titles: Different titles, sorted.
        pairs: Query and title of the clicks of training, the most frequent ones first.
        queries: Those of training.
        texts: Titles and queries of training.
        clicks: Of the test: each query, and the number of the title that was clicked.
    """

    def __init__(self, data: Path):
        """Reads what ``crossrec simulate`` wrote."""
        rows = pd.concat([pd.read_parquet(path) for path in sorted((data / "interactions").glob("*.parquet"))])
        items = pd.read_parquet(data / "items.parquet").set_index("item_id")["title"].str.strip()
        self.titles = sorted(set(items))
        rows = rows.assign(query=rows["query"].fillna("").str.strip(), title=rows["item_id"].map(items))
        rows = rows[rows["query"] != ""]
        before = rows["timestamp"] < rows["timestamp"].quantile(TRAIN_UNTIL)
        clicked = rows["clicked"] == 1
        train = rows[before & clicked]
        counts = Counter(zip(train["query"], train["title"]))
        self.pairs = [pair for pair, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
        self.queries = set(rows.loc[before, "query"])
        self.texts = sorted({*self.titles, *self.queries})
        numbers = {title: number for number, title in enumerate(self.titles)}
        test = rows[~before & clicked]
        self.clicks = test["query"].tolist(), test["title"].map(numbers).to_numpy(np.int64)


def adapted(market: Market, count: int, path: str | None, small: bool) -> Iterator[tuple[str, EncoderNetwork, Any]]:
    """Each encoder by name, trained, with its configuration.

    Args:
        market: What to learn from.
        count: Pairs, drawn once for all.
        path: Directory of the pretrained encoder, or None.
        small: Whether to leave out what takes long and differs little.
    """
    drawn = np.sort(np.random.default_rng(0).permutation(len(market.pairs))[:count])
    together = TextPairs.of([market.pairs[place] for place in drawn])
    few = {"epochs": 1 if small else 2, "batch_size": 64}
    ways = {
        "frozen": None,
        "adapters": EncoderTrainingConfig(weights="adapters", **few),
        "all": EncoderTrainingConfig(**few),
    }
    for name, training in ways.items() if path is not None else ():
        if small and name == "all":
            continue
        config = TextEncoderConfig(path=path, training=training)
        network = hugging_face.load(path, config)
        lora = training is not None and training.weights == "adapters"
        if lora:
            network.add_adapters(training.rank, training.seed)
        if training is not None:
            fit_pairs(network, together, training)
        if lora:
            network.merge_adapters()
        yield name, network, config
    config, training = TextEncoderConfig(), EncoderTrainingConfig()
    yield "small_untrained", new_network(market.texts, config), config
    for name, pairs in (("small", together), ("small_every_pair", TextPairs.of(market.pairs))):
        network = new_network(market.texts, config)
        fit_pairs(network, pairs, training)
        yield name, network, config
    if path is not None:
        network = new_network(market.texts, config)
        teacher = hugging_face.load(path, TextEncoderConfig(path=path))
        distil(network, market.texts, teacher_targets(teacher, market.texts, network.width), training)
        yield "distilled", network, config
        fit_pairs(network, together, training)
        yield "distilled_pairs", network, config


def measure(encoder: Any, market: Market) -> dict[str, float]:
    """Recall of the clicked titles, of unseen queries too, and processor milliseconds of one query and of 64 titles."""
    asked, wanted = market.clicks
    queries = sorted(set(asked))
    places = {query: place for place, query in enumerate(queries)}
    left = np.array([places[query] for query in asked])
    found, titles = (embed(encoder, [text.encode("utf-8") for text in texts]) for texts in (queries, market.titles))
    scores = (found @ titles.T)[left]
    nothing_known = np.zeros_like(scores, dtype=bool)
    hits = reciprocal_ranks(scores, wanted, nothing_known) > 1 / (K + 1)
    unseen = ~np.isin(asked, sorted(market.queries))
    return {
        f"recall@{K}": float(hits.mean()),
        f"unseen_recall@{K}": float(hits[unseen].mean()),
        "query_ms": _milliseconds(encoder, [queries[i % len(queries)] for i in range(_QUERIES_TIMED)], 1),
        "titles_ms": _milliseconds(encoder, market.titles[: _BATCH * _BATCHES_TIMED], _BATCH),
    }


def _milliseconds(encoder: Any, texts: list[str], batch: int) -> float:
    """Median processor time of a batch."""
    batches = [tf.constant(texts[start : start + batch]) for start in range(0, len(texts), batch)]
    encoder.encode(batches[0])
    taken = []
    for part in batches:
        started = time.process_time()
        encoder.encode(part).numpy()
        taken.append(time.process_time() - started)
    return 1e3 * float(np.median(taken))


def main() -> None:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs that are learnt from")
    parser.add_argument("--small", action="store_true", help=f"{SMALL_ROWS:,} rows, {SMALL_PAIRS} pairs, only int8")
    options = parser.parse_args()
    rows, count = (SMALL_ROWS, SMALL_PAIRS) if options.small else (options.rows, options.pairs)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    path = pretrained_directory()
    if path is None:
        print(f"{PACKAGE} is not installed: only encoders that are trained from scratch", file=sys.stderr)
    begun = time.perf_counter()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder) / "data", rows, 0)
        market = Market(Path(folder) / "data")
        started = time.process_time()
        for name, network, config in adapted(market, count, path, options.small):
            trained = {"train_cpu_s": time.process_time() - started}
            projection = None
            if config.dimension < network.width:
                projection = fit_projection(Embedder(network)(Tokens.of(network, market.titles)), config.dimension)
            precisions = PRECISIONS[: None if name in COMPRESSED else 1] if not options.small else PRECISIONS[-1:]
            for precision in precisions:
                directory = f"{folder}/{name}-{precision}"
                stored = config.model_copy(update={"precision": precision})
                report = export(network, projection, stored, directory)
                measured = measure(load_encoder(directory), market)
                measured |= {"mb": report.weight_bytes / 1e6, **trained}
                trained = {}
                print(f"{name} {precision}: {shown(measured)}", flush=True)
                figures |= {f"{name}_{precision}_{metric}": round(value, 4) for metric, value in measured.items()}
            started = time.process_time()
    result = {
        "rows": rows,
        "pairs": count,
        "every_pair": len(market.pairs),
        "clicks": len(market.clicks[0]),
        "titles": len(market.titles),
    }
    seconds = round(time.perf_counter() - begun, 1)
    print(json.dumps({**figures, **result, "seconds": seconds, **environment()}))


if __name__ == "__main__":
    main()
