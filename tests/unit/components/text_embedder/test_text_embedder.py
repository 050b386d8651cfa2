"""The component on small examples: what it adds, what it embeds, what it takes from earlier runs."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.encodings import encodings
from crossrec.components.modeling.warm_start import PreviousRelease
from crossrec.components.text_embedder import embed, executor, table
from crossrec.components.text_embedder.cache import VectorCache
from crossrec.components.text_embedder.clusters import centres_path, read_centres
from crossrec.components.text_embedder.report import EmbeddingReport
from crossrec.components.text_embedder.vectors import Vectors, hashes_of
from tests.unit.components.records import write_records
from tests.unit.components.text_embedder.embedding import run_embedder
from tests.unit.components.text_embedder.toy_encoder import write_toy_encoder

ENCODER = {"dimension": 6}
FEATURES = FeaturesConfig.model_validate(
    {
        "query": {
            "query_vector": {"type": "text", "column": "query", "encoder": ENCODER},
            "query_group": {"type": "text", "column": "query", "encoder": ENCODER, "clusters": 4},
            "words": {"type": "text", "column": "query"},
        },
        "item": {
            "title_vector": {"type": "text", "column": "title", "encoder": ENCODER},
            "same_again": {"type": "text", "column": "title", "encoder": ENCODER},
            "title_group": {"type": "text", "column": "title", "encoder": ENCODER, "clusters": 4},
        },
    }
)
ENCODINGS = encodings(FEATURES)
(KEY,) = {encoding.encoder for encoding in ENCODINGS}
VECTOR, GROUP = f"query__{KEY}", f"query__{KEY}_4"
ODD = [None, "", "  \t ", "Größe 中文 🙂", "红茶 green tea", "word " * 3000, "naïve NAÏVE", b"\xff\xfe caf\xc3\xa9"]


def queries(count, start=0):
    texts = [ODD[n] if n < len(ODD) else f"query {n % 50} of {'many ' * (n % 5)}" for n in range(start, count)]
    return [{"query": text, "timestamp": n, "user": f"u{n}"} for n, text in enumerate(texts)]


SPLITS = {"train": queries(300), "validation": queries(40), "test": queries(500, 250)}
ITEMS = [{"item_id": f"i{n:03}", "title": None if n == 7 else f"title {n} {'tea ' * (n % 3)}"} for n in range(90)]


class World:
    """Raw examples, an encoder and a cache, on which the component runs any number of times."""

    def __init__(self, root):
        self.root, self.runs = Path(root), 0
        self.encoder = write_toy_encoder(root / "encoders", KEY)
        for split, rows in SPLITS.items():
            write_records(f"{root}/interactions/Split-{split}", rows, 2)
        self.write_items(ITEMS)

    def write_items(self, items):
        write_records(f"{self.root}/items/Split-train", items)

    def run(self, cache="cache", previous=None, encodings=ENCODINGS):
        self.runs += 1
        places = (self.root / "interactions", self.root / "items", list(SPLITS))
        return run_embedder(self.root, encodings, *places, f"run{self.runs}", cache, previous)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def first(world):
    return world.run()


def records(directory):
    """Records of all files below a directory, by path below it."""
    files = sorted(Path(directory).rglob("*.gz"))
    assert files
    return {
        str(file.relative_to(directory)): list(tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator())
        for file in files
    }


def values_of(feature):
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


def parsed(directory):
    """The features of every record, in the order of the files."""
    found = []
    for content in records(directory).values():
        for record in content:
            features = tf.train.Example.FromString(record).features.feature
            found.append({name: values_of(feature) for name, feature in features.items()})
    return found


def report(out):
    (found,) = EmbeddingReport.read(str(out / "embeddings")).encoders
    return found


@pytest.mark.parametrize("part", ["interactions/Split-train", "interactions/Split-test", "items/Split-train"])
def test_rows_are_those_of_the_original_with_columns_added(world, first, part):
    before, after = parsed(world.root / part), parsed(first / part)
    assert records(world.root / part).keys() == records(first / part).keys()
    added = {encoding.encoded_column for encoding in ENCODINGS}
    assert [{name: values for name, values in row.items() if name not in added} for row in after] == before
    assert added & set.union(*map(set, after))


@pytest.mark.parametrize(
    ("side", "part", "other"), [("item", "items", "interactions"), ("query", "interactions", "items")]
)
def test_an_encoder_on_one_side_leaves_the_other_as_it_is(world, first, side, part, other):
    chosen = tuple(encoding for encoding in ENCODINGS if encoding.side == side and encoding.clusters is None)
    out = world.run(encodings=chosen)
    column = chosen[0].encoded_column
    assert [row.get(column) for row in parsed(out / part)] == [row.get(column) for row in parsed(first / part)]
    assert records(out / other) == records(world.root / other)


def test_a_text_s_vector_is_what_the_encoder_makes_of_it_alone(world, first):
    seen = 0
    for row in parsed(first / "interactions/Split-train"):
        text = row["query"][0] if row["query"] else b""
        expected = world.encoder.encode(tf.constant([text])).numpy()[0]
        if expected.any():
            np.testing.assert_allclose(row[VECTOR], expected, atol=1e-6)
            seen += 1
        else:
            assert VECTOR not in row and GROUP not in row, "a missing or blank text has nothing"
    assert seen == len(SPLITS["train"]) - 3


def test_both_parsers_read_the_columns(first):
    (file, *_) = sorted((first / "interactions/Split-train").glob("*.gz"))
    batch = next(iter(tf.data.TFRecordDataset(str(file), "GZIP").batch(50)))
    found = tf.io.parse_example(
        batch, {VECTOR: tf.io.VarLenFeature(tf.float32), "query": tf.io.VarLenFeature(tf.string)}
    )
    rows = [tf.train.Example.FromString(record).features.feature for record in batch.numpy()]
    dense = tf.sparse.to_dense(found[VECTOR]).numpy()
    for place, row in enumerate(rows):
        assert dense[place].tolist() == (list(row[VECTOR].float_list.value) or [0.0] * 6)
    assert len(found["query"].values) == sum(len(row["query"].bytes_list.value) for row in rows)


def test_clusters_are_the_nearest_centres_of_the_catalogue(world, first):
    centres = read_centres(centres_path(str(first / "embeddings"), KEY, 4))
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), np.ones(4), rtol=1e-5)
    titles = [row for row in parsed(first / "items") if f"title__{KEY}" in row]
    groups = [row[f"title__{KEY}_4"][0] for row in titles]
    assert set(groups) == {1, 2, 3, 4} and len(titles) == len(ITEMS) - 1
    for rows, name in ((titles, "title"), (parsed(first / "interactions/Split-test"), "query")):
        rows = [row for row in rows if f"{name}__{KEY}" in row]
        cosines = np.array([row[f"{name}__{KEY}"] for row in rows]) @ centres.T
        assert [row[f"{name}__{KEY}_4"] for row in rows] == [[place + 1] for place in cosines.argmax(1)]
    # Each centre is the direction of what is nearest to it.
    vectors = np.array([row[f"title__{KEY}"] for row in titles])
    for group, centre in enumerate(centres, 1):
        total = vectors[np.array(groups) == group].sum(0)
        np.testing.assert_allclose(total / np.linalg.norm(total), centre, atol=1e-5)


def test_each_text_is_embedded_once_and_then_never_again(world, first):
    texts = {row["query"] for rows in SPLITS.values() for row in rows} | {row["title"] for row in ITEMS}
    texts -= {None}
    assert (report(first).texts, report(first).computed, report(first).from_cache) == (len(texts), len(texts), 0)
    again = world.run()
    assert (report(again).computed, report(again).from_cache) == (0, len(texts))
    for part in ("interactions", "items"):
        assert records(again / part) == records(first / part), "to the last bit"


def test_only_new_texts_are_embedded_and_the_others_stay_to_the_last_bit(world, first):
    changed = [{**ITEMS[0], "title": "a title that nobody has seen"}, *ITEMS[1:]]
    world.write_items(changed)
    try:
        warm, cold = world.run(), world.run("another cache")
    finally:
        world.write_items(ITEMS)
    assert (report(warm).computed, report(cold).computed) == (1, report(warm).texts)
    for part in ("interactions", "items"):
        assert records(warm / part) == records(cold / part)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-3], lambda data: data[:70] + b"\x01" + data[71:], lambda _: b""]
)
def test_a_damaged_file_of_the_cache_is_found_and_made_again(world, first, damage):
    files = list((world.root / "cache").rglob("*.vectors"))
    assert {file.parent.name for file in files} == {report(first).digest}
    file = max(files, key=lambda file: file.stat().st_size)
    file.write_bytes(damage(file.read_bytes()))
    out = world.run()
    assert report(out).damaged_files == 1 and report(out).computed > 0
    assert records(out / "interactions") == records(first / "interactions")
    assert report(world.run()).computed == 0


def test_a_run_that_was_killed_is_gone_on_with(world, first, monkeypatch):
    monkeypatch.setattr(embed, "_CHUNK", 40)
    store, calls = VectorCache.store, []

    def killed(self, prefix, found):
        calls.append(len(found.hashes))
        if len(calls) == 3:
            raise OSError("killed")
        store(self, prefix, found)

    monkeypatch.setattr(VectorCache, "store", killed)
    with pytest.raises(Exception, match="killed"):
        world.run("killed")
    monkeypatch.setattr(VectorCache, "store", store)
    out = world.run("killed")
    assert report(out).from_cache == sum(calls[:2]) == 80
    assert records(out / "interactions") == records(first / "interactions")


def test_texts_in_many_parts_are_the_same(world, first, monkeypatch):
    """Parts are for size: as many as 256 here, from a cache that was written as one, and one that is written so."""
    size = sum(file.stat().st_size for part in ("interactions", "items") for file in (world.root / part).rglob("*.gz"))
    monkeypatch.setattr(executor, "_PREFIX_BYTES", size / 200)
    fresh, cached = world.run("in parts"), world.run()
    assert report(fresh).computed == report(cached).from_cache == report(first).texts
    assert len(list((world.root / "in parts").rglob("*.vectors"))) > 50
    for out in (fresh, cached):
        assert records(out / "interactions") == records(first / "interactions")
    monkeypatch.undo()
    assert report(world.run("in parts")).from_cache == report(first).texts


def test_a_table_in_memory_gets_the_same_columns_from_the_same_cache(world, first, monkeypatch):
    monkeypatch.setattr(table, "load_encoder", None)
    rows = parsed(first / "items")
    names = [row["item_id"][0] for row in rows]
    items = pa.table({"item_id": names, "title": [(row["title"] or [None])[0] for row in rows]})
    mine = [encoding for encoding in ENCODINGS if encoding.side == "item"]
    places = {"text_encoders": f"{world.root}/encoders", "text_embeddings": str(first / "embeddings")}
    found = table.with_encoded_columns(items, mine, places, f"{world.root}/cache")
    assert found.column_names == ["item_id", "title", f"title__{KEY}", f"title__{KEY}_4"]
    assert found[f"title__{KEY}"].to_pylist() == [row.get(f"title__{KEY}") for row in rows]
    assert found[f"title__{KEY}_4"].to_pylist() == [row.get(f"title__{KEY}_4", [None])[0] for row in rows]


def test_many_writers_and_readers_of_one_cache(tmp_path):
    """Everyone sees whole files or none, and the writers of equal vectors one file."""
    hashes = np.sort(hashes_of([f"text {n}".encode() for n in range(500)]))
    found = Vectors(hashes, np.arange(2000, dtype=np.float32).reshape(500, 4))

    def work(seed):
        cache, rng = VectorCache(str(tmp_path)), np.random.default_rng(seed)
        for _ in range(10):
            start = 50 * rng.integers(10)
            cache.store("", Vectors(hashes[start : start + 50], found.vectors[start : start + 50]))
            seen, damaged = cache.load("")
            assert damaged == 0 and (seen.vectors == found.vectors[found.find(seen.hashes)]).all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(list(tmp_path.iterdir())) <= 10 and not list(tmp_path.glob("*.part"))


def release(world, embeddings):
    """A release that was made of some run."""
    places = {"text_encoders": str(world.root / "encoders"), "text_embeddings": str(embeddings)}
    return PreviousRelease(version=3, artifacts=places)


def made_by(out):
    return json.loads((out / "made_by.json").read_text())


def test_clusters_of_a_release_are_kept_while_the_encoder_is_the_same(tmp_path):
    world = World(tmp_path)
    before = world.run()
    # Other texts have other centres, unless a release has settled which group is which.
    world.write_items([{**item, "title": f"{item['title']} anew"} for item in ITEMS[20:]])
    alone = world.run()
    kept = world.run(previous=release(world, before / "embeddings"))
    path = f"embeddings/{KEY}/centroids_4.npy"
    assert (before / path).read_bytes() == (kept / path).read_bytes() != (alone / path).read_bytes()
    assert made_by(before) == made_by(kept)
    group = f"title__{KEY}_4"
    assert made_by(alone)[f"title__{KEY}"] == made_by(kept)[f"title__{KEY}"] == "toy0"
    assert made_by(alone)[group] != made_by(kept)[group]


def test_clusters_of_another_encoder_or_of_a_release_that_is_gone_are_not(tmp_path):
    world = World(tmp_path)
    before = world.run()
    centres = read_centres(centres_path(str(before / "embeddings"), KEY, 4))
    shutil.copytree(world.root / "encoders", world.root / "former")
    write_toy_encoder(world.root / "encoders", KEY, seed=1)
    places = {"text_encoders": str(world.root / "former"), "text_embeddings": str(before / "embeddings")}
    other = world.run(previous=PreviousRelease(version=3, artifacts=places))
    assert not np.array_equal(read_centres(centres_path(str(other / "embeddings"), KEY, 4)), centres)
    assert made_by(other)[f"title__{KEY}"] == "toy1"
    gone = world.run(previous=release(world, tmp_path / "nowhere"))
    assert made_by(gone) == made_by(other)
