"""Groups of texts: centres of the catalogue's vectors, and the id of the nearest one."""

from __future__ import annotations

import io
import posixpath

import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from crossrec.components.errors import DataError
from crossrec.components.features.item_table import Array
from crossrec.components.modeling.k_means import spherical_k_means
from crossrec.components.text_embedder.embed import read_marks
from crossrec.components.text_embedder.texts import ITEM, TRAIN
from crossrec.components.text_embedder.vectors import read_vectors

_SAMPLE, _SAMPLE_OF_CLUSTER = 65_536, 32


def find_centres(tables: str, key: str, clusters: int, seed: int) -> Array:
    """Centres of the vectors of the catalogue's texts, of the training queries' where no item has such a text.

    Args:
        tables: Directory of the tables.
        key: The encoder's.
        clusters: How many.
        seed: Of the search.

    Returns:
        float32 ``[clusters, dimension]`` of length 1; fewer where there are fewer texts.

    Raises:
        DataError: Neither items nor training queries have a text.
    """
    for mark in (ITEM, TRAIN):
        vectors = _sample(tables, key, mark, max(_SAMPLE, _SAMPLE_OF_CLUSTER * clusters))
        if len(vectors):
            return spherical_k_means(vectors, clusters, seed=seed)
    raise DataError(
        "features",
        f"clusters: {clusters}, but neither the items nor the training split have a text for them",
        "Check the feature's column, or leave the feature out.",
    )


def _sample(tables: str, key: str, mark: int, most: int) -> Array:
    """Vectors of some texts that stand at a place: those with the lowest hashes, which are as good as drawn."""
    found: list[Array] = []
    for path in sorted(fileio.glob(posixpath.join(tables, key, "*.vectors"))):
        chosen = read_vectors(path).vectors[read_marks(path) & mark > 0]
        found.append(chosen[chosen.any(1)])
        if sum(map(len, found)) >= most:
            break
    return np.concatenate(found)[:most] if found else np.empty((0, 0), np.float32)


def nearest_cluster(vectors: tf.Tensor, centres: tf.Tensor) -> tf.Tensor:
    """The group of each text.

    Args:
        vectors: float32 ``[N, dimension]``, of length 1 or zeros for a missing text.
        centres: float32 ``[K, dimension]``, of length 1.

    Returns:
        int64 ``[N]``: 1…K, that of the highest cosine; 0 for a missing text.
    """
    best = 1 + tf.argmax(tf.matmul(vectors, centres, transpose_b=True), 1)
    return tf.where(tf.reduce_any(vectors != 0.0, 1), best, 0)


def centres_path(directory: str, key: str, clusters: int) -> str:
    """The file of the centres below a TextEmbeddings artifact."""
    return posixpath.join(directory, key, f"centroids_{clusters}.npy")


def write_centres(path: str, centres: Array) -> None:
    """Writes centres."""
    buffer = io.BytesIO()
    np.save(buffer, centres)
    fileio.makedirs(posixpath.dirname(path))
    with fileio.open(path, "wb") as file:
        file.write(buffer.getvalue())


def read_centres(path: str) -> Array:
    """Reads centres, float32 ``[K, dimension]``."""
    with fileio.open(path, "rb") as file:
        centres: Array = np.load(io.BytesIO(file.read()))
    return centres
