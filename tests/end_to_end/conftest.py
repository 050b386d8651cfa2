"""What the tests of a finished run share: its trained models, and a server of its release."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.preprocessing import RAW_DTYPES
from crossrec.components.features.schema import FeatureSchema
from crossrec.components.text.export import load_encoder
from crossrec.serving.local_server import LocalServer
from tests.end_to_end.raw_rows import as_examples
from tests.unit.serving.serve_here import Caller


def pytest_collection_modifyitems(items):
    """The first test that reads a run waits for it: minutes, and more on a slow machine that has other work."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(3600))


@dataclass(frozen=True)
class Trained:
    """What the trainers and the indexer left, as they themselves use it."""

    schema: FeatureSchema
    table: ItemTable
    towers: Any
    ranker: Any
    index: Any
    transform: Any
    encoders: str

    def features(self, rows):
        """Query features of raw rows, by the transform graph."""
        read = {name: kind for name, kind in self.schema.raw_query.items() if name not in self.schema.only_encoded}
        spec = {name: tf.io.VarLenFeature(RAW_DTYPES[kind]) for name, kind in read.items()}
        raw = tf.io.parse_example(as_examples(rows, self.schema), spec)
        for encoding in (encoding for encoding in self.schema.encodings if encoding.side == "query"):
            texts = tf.constant([[*row.get(encoding.column, ()), b""][0] for row in rows])
            encoder = load_encoder(f"{self.encoders}/{encoding.encoder}")
            raw[encoding.encoded_column] = tf.RaggedTensor.from_tensor(encoder.encode(texts)).to_sparse()
        transformed = self.transform(raw)
        return {feature.name: transformed[feature.name] for feature in self.schema.side("query")}

    def item_rows(self, ids):
        """Rows of items `[B]` or `[B, C]` in the catalogue, -1 for unknown ones."""
        places = {item: row for row, item in enumerate(self.table.ids)}
        return np.vectorize(lambda item: places.get(item, -1), otypes=[np.int64])(ids)

    def rank(self, rows, candidates):
        """Scores of candidates `[B, C]`, and the probability of each task, `[B, C]`, by name."""
        features = self.features(rows)
        item_rows = tf.constant(self.item_rows(candidates))
        retrieval = self.index.score(self.towers.embed_queries(features), item_rows)
        probabilities = self.ranker.probabilities(features, item_rows, retrieval)
        named = {f"probability_{task.name}": probabilities[..., i].numpy() for i, task in enumerate(self.ranker.tasks)}
        return {"scores": self.ranker.score(probabilities).numpy(), **named}


@pytest.fixture(scope="session")
def trained(marketplace_run):
    from crossrec.components.candidate_indexer.index import ExactIndex, read_embeddings
    from crossrec.components.modeling import saving
    from crossrec.components.ranking_trainer import train as ranking
    from crossrec.components.ranking_trainer.config import RankingConfig
    from crossrec.components.retrieval_trainer import train as retrieval
    from crossrec.components.retrieval_trainer.config import RetrievalConfig

    uris = marketplace_run.uris
    graphs, ranked = uris["FeatureTransform"]["transform_graphs"], uris["RankingTrainer"]["ranking_model"]
    schema, table = (
        FeatureSchema.read(uris["CrossSelector"]["cross_set"]),
        ItemTable.read(uris["FeatureTransform"]["item_table"]),
    )
    retrieved = uris["RetrievalTrainer"]["retrieval_model"]
    towers = retrieval.build(schema, saving.read_config(retrieved, RetrievalConfig), table)
    saving.restore(retrieved, towers)
    ranker = ranking.build(schema, saving.read_config(ranked, RankingConfig), table)
    saving.restore(ranked, ranker)
    index = ExactIndex(read_embeddings(uris["CandidateIndexer"]["candidate_index"]))
    transform = tft.TFTransformOutput(f"{graphs}/query").transform_features_layer()
    return Trained(schema, table, towers, ranker, index, transform, uris["TextEncoder"]["text_encoders"])


@pytest.fixture(scope="session")
def served(marketplace_run, tmp_path_factory):
    """Raw gRPC calls to a server that serves the first release only, in a process of its own."""
    model = tmp_path_factory.mktemp("served") / "recommender"
    model.mkdir()
    (model / "1").symlink_to(marketplace_run.version)
    with LocalServer(model, "recommender", startup_seconds=600) as server:
        yield Caller(server.target, "recommender")
