"""Vectors on disk: found by text, mapped where they lie, copied once from elsewhere; centres that can be repeated."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.modeling.k_means import spherical_k_means
from crossrec.components.text_embedder.clusters import nearest_cluster
from crossrec.components.text_embedder.embed import table_path
from crossrec.components.text_embedder.join import VectorTables
from crossrec.components.text_embedder.vectors import (
    DamagedFileError,
    Vectors,
    hashes_of,
    map_vectors,
    read_vectors,
    write_vectors,
)
from tests.unit.components.object_store import use_as_store

TEXTS = [f"text {n}".encode() for n in range(300)]
NUMBERS = np.arange(900, dtype=np.float32).reshape(300, 3)


def write_tables(directory, digits):
    hashes = hashes_of(TEXTS)
    prefixes = np.array([text_hash.ljust(16, b"\0").hex()[:digits] for text_hash in hashes.tolist()])
    for prefix in np.unique(prefixes):
        rows = np.flatnonzero(prefixes == prefix)
        rows = rows[np.argsort(hashes[rows])]
        write_vectors(table_path(str(directory), "key", prefix), Vectors(hashes[rows], NUMBERS[rows]))


@pytest.mark.parametrize("digits", [0, 1, 2])
def test_each_text_has_its_own_vector_in_any_order(tmp_path, digits):
    write_tables(tmp_path, digits)
    tables = VectorTables(str(tmp_path), digits)
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(tables.vectors("key", [TEXTS[n] for n in order]), NUMBERS[order])


def test_tables_elsewhere_are_copied_once_and_the_copies_removed(tmp_path, monkeypatch):
    write_tables(tmp_path / "bucket", 1)
    use_as_store(tmp_path, monkeypatch)
    tables = VectorTables("store://bucket", 1)
    np.testing.assert_array_equal(tables.vectors("key", TEXTS), NUMBERS)
    for file in (tmp_path / "bucket").rglob("*.vectors"):
        file.unlink()
    np.testing.assert_array_equal(tables.vectors("key", TEXTS[::-1]), NUMBERS[::-1])
    copies = tables._copies
    assert copies and not copies.startswith(str(tmp_path))
    tables.close()
    with pytest.raises(FileNotFoundError):
        map_vectors(f"{copies}/key-0")


def test_what_is_read_is_what_was_written_or_an_error(tmp_path):
    path = str(tmp_path / "some" / "file.vectors")
    hashes = np.sort(hashes_of(TEXTS))
    write_vectors(path, Vectors(hashes, NUMBERS))
    for found in (read_vectors(path), map_vectors(path)):
        assert (found.hashes == hashes).all()
        np.testing.assert_array_equal(found.vectors, NUMBERS)
        assert found.find(np.array([hashes[7], b"unknown", hashes[299]], "S16")).tolist() == [7, -1, 299]
    content = Path(path).read_bytes()
    for place in (0, 20, 40, 64, 900, len(content) - 1):
        Path(path).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(DamagedFileError, match="file.vectors"):
            read_vectors(path)


def test_centres_are_found_again_and_do_not_depend_on_the_order_of_the_clusters():
    """Three bunches of directions, far from each other: the centres are their means, whatever the seed."""
    rng = np.random.default_rng(1)
    axes = np.eye(3, 8, dtype=np.float32)
    vectors = np.repeat(axes, 40, axis=0) + rng.normal(scale=0.05, size=(120, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for seed in range(3):
        centres = spherical_k_means(vectors, 3, seed=seed)
        np.testing.assert_array_equal(centres, spherical_k_means(vectors, 3, seed=seed))
        sums = vectors.reshape(3, 40, 8).sum(1)
        expected = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        np.testing.assert_allclose(centres[(centres @ axes.T).argmax(0)], expected, atol=1e-5)
        ids = nearest_cluster(tf.constant(vectors), tf.constant(centres)).numpy()
        assert [len(set(ids[start : start + 40])) for start in (0, 40, 80)] == [1, 1, 1] and set(ids) == {1, 2, 3}
    assert len(spherical_k_means(vectors[:2], 5)) == 2, "as many as there are vectors"
    assert nearest_cluster(tf.zeros([2, 8]), tf.constant(centres)).numpy().tolist() == [0, 0]
