"""The columns of vectors for a table in memory, such as a catalogue that is looked at between runs."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from crossrec.components.features.encodings import Encoding
from crossrec.components.features.item_table import Array
from crossrec.components.text.export import load_encoder
from crossrec.components.text.report import EncoderReport
from crossrec.components.text_embedder.cache import VectorCache
from crossrec.components.text_embedder.clusters import centres_path, nearest_cluster, read_centres
from crossrec.components.text_embedder.embed import embed_new


def with_encoded_columns(
    table: pa.Table, encodings: Sequence[Encoding], artifacts: Mapping[str, str], cache_root: str
) -> pa.Table:
    """Adds what TextEmbedder adds to examples.

    Args:
        table: Columns of texts among others, [rows]; null or "" is missing.
        encodings: The columns to add, of one side.
        artifacts: Directories of ``text_encoders`` and ``text_embeddings``.
        cache_root: As for TextEmbedder: what a run has embedded is taken from there.

    Returns:
        The table with the columns: lists of float32, or int64; null where the text is missing.
    """
    vectors: dict[tuple[str, str], Array] = {}
    for encoding in encodings:
        made_of = (encoding.column, encoding.encoder)
        if made_of not in vectors:
            directory = posixpath.join(artifacts["text_encoders"], encoding.encoder)
            vectors[made_of] = _vectors(table[encoding.column], directory, cache_root, encoding.dimension)
        found = vectors[made_of]
        missing = ~found.any(1)
        if encoding.clusters is None:
            offsets = np.concatenate([[0], np.cumsum(~missing * encoding.dimension)]).astype(np.int32)
            values = pa.array(found[~missing].reshape(-1))
            lists = pa.ListArray.from_arrays(pa.array(offsets, mask=np.append(missing, False)), values)
            table = table.append_column(encoding.encoded_column, lists)
        else:
            path = centres_path(artifacts["text_embeddings"], encoding.encoder, encoding.clusters)
            ids = nearest_cluster(found, read_centres(path)).numpy()
            table = table.append_column(encoding.encoded_column, pa.array(ids, mask=missing))
    return table


def _vectors(column: pa.ChunkedArray, directory: str, cache_root: str, dimension: int) -> Array:
    """Vectors of a column's texts, float32 ``[rows, dimension]``; zeros where one is missing."""
    texts = [(text or "").encode("utf-8") for text in column.cast(pa.string()).to_pylist()]
    different = sorted(set(texts))
    if not different:
        return np.empty((0, dimension), np.float32)
    cache = VectorCache(posixpath.join(cache_root, EncoderReport.read(directory).digest))
    found = embed_new(different, lambda: load_encoder(directory), cache)
    places = {text: place for place, text in enumerate(found.texts)}
    return np.asarray(found.vectors.vectors[[places[text] for text in texts]])
