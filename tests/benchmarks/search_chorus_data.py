"""Chorus (Icecat products, graded judgments) for the ranking model: a query is a list of judged products."""

import csv
import gzip
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from crossrec.components.features.config import FeaturesConfig, Side, raw_columns
from crossrec.components.features.crosses import CrossConfig
from crossrec.components.features.crosses.fitting import fit_crosses
from crossrec.components.features.item_table import ItemTable
from crossrec.components.features.preprocessing import dense_to_sparse, preprocessing_fn
from crossrec.components.features.schema import (
    ITEM_ROW,
    RETRIEVED,
    TIMESTAMP,
    USER,
    WEIGHT,
    FeatureSchema,
    add_crosses,
    build_schema,
    label_key,
)

LABEL = "rating"
_PRODUCTS, _JUDGMENTS = "products.jsonl.gz", "judgments.csv"
_TEXTS = ("title", "short_description", "supplier")
_WORDS = {"type": "text", "hash_buckets": 2**20}

Array = np.ndarray[Any, Any]
Encode = Callable[[Sequence[str]], Array]


@dataclass(frozen=True)
class Chorus:
    """The judged products of each query.

    Attributes:
        schema: Features and fitted crosses; BM25 knows the words of the whole catalogue.
        table: The judged products.
        lists: Of each query the columns of its rows, ``{name: [n, width]}``.
        queries: Their texts.
    """

    schema: FeatureSchema
    table: ItemTable
    lists: list[dict[str, Array]]
    queries: list[str]

    def grades(self, query: int) -> Array:
        """The grades of a query's products."""
        return self.lists[query][label_key(LABEL)][:, 0]

    def dataset(self, queries: Sequence[int], seed: int) -> tf.data.Dataset:
        """Some queries, each a list ``{name: [n, width]}``, in another order in every pass."""
        signature = {
            name: tf.TensorSpec([None, values.shape[1]], values.dtype) for name, values in self.lists[0].items()
        }
        chosen = [self.lists[query] for query in queries]
        lists = tf.data.Dataset.from_generator(lambda: iter(chosen), output_signature=signature).cache()
        return lists.shuffle(len(chosen), seed=seed, reshuffle_each_iteration=True)


def find_data(folder: str | None) -> Path:
    """The folder ``chorus_icecat`` below the given one, or below ``$CROSSREC_DATA``.

    Raises:
        FileNotFoundError: It is not there.
    """
    path = Path(folder or os.environ.get("CROSSREC_DATA") or ".") / "chorus_icecat"
    if not ((path / _PRODUCTS).exists() and (path / _JUDGMENTS).exists()):
        raise FileNotFoundError(
            f"--data: {path} does not hold {_PRODUCTS} and {_JUDGMENTS}. "
            "Name the folder that holds chorus_icecat/, or set CROSSREC_DATA to it"
        )
    return path


def read(path: Path) -> tuple[list[dict[str, Any]], dict[str, list[tuple[str, int]]]]:
    """The products, and of each query the products that were judged with their grades."""
    with gzip.open(path / _PRODUCTS, "rt", encoding="utf-8") as file:
        products = [json.loads(line) for line in file]
    judged: dict[str, list[tuple[str, int]]] = {}
    with open(path / _JUDGMENTS, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            judged.setdefault(row["query"], []).append((row["docid"], int(row["rating"])))
    return products, judged


def features_of(dimension: int) -> FeaturesConfig:
    """The features: words and vectors of the query and of two texts of a product, its supplier and its price."""
    vector = {"type": "vector", "dimension": dimension}
    return FeaturesConfig.model_validate(
        {
            "query": {"query": {**_WORDS, "max_tokens": 8}, "query_vector": vector},
            "item": {
                "title": {**_WORDS, "max_tokens": 48},
                "short_description": {**_WORDS, "max_tokens": 64},
                "supplier": {**_WORDS, "max_tokens": 8},
                # All of them and the product's name, as one text.
                "text": {**_WORDS, "max_tokens": 128},
                "title_vector": vector,
                "description_vector": vector,
                "price": {"type": "numeric", "impute": "zero", "log": True, "normalise": "none"},
            },
        }
    )


def load(path: Path, encode: Encode, crosses: Sequence[CrossConfig]) -> Chorus:
    """Reads the data and fits the crosses.

    Nothing here is learnt from grades: the crosses know the words of the whole catalogue, and the encoder texts.

    Args:
        path: The folder ``chorus_icecat``.
        encode: Vectors of texts, float32 ``[n, dimension]``.
        crosses: Crosses of words and of vectors, see ``features_of``.
    """
    products, judged = read(path)
    queries = sorted(judged)
    places = {product["id"]: place for place, product in enumerate(products)}
    chosen = np.array(sorted({places[item] for answers in judged.values() for item, _ in answers}))
    raw = {"query": _texts(queries), "query_vector": encode(queries)}
    features = features_of(raw["query_vector"].shape[1])
    asked = _transform(features, "query", raw)
    catalogue = _transform(features, "item", _items(products, chosen, encode))
    words = {name: int(_WORDS["hash_buckets"]) + 1 for name in ("query", "text", *_TEXTS)}
    schema = add_crosses(build_schema(features, words, ("id", len(chosen)), (LABEL,)), crosses)
    schema = fit_crosses(schema, catalogue, lambda: iter([asked]), LABEL)
    row_of = {int(place): row for row, place in enumerate(chosen)}
    lists = [
        _rows(
            {name: values[number] for name, values in asked.items()},
            number,
            [row_of[places[item]] for item, _ in judged[query]],
            [grade for _, grade in judged[query]],
        )
        for number, query in enumerate(queries)
    ]
    table = ItemTable(
        ids=_texts([products[place]["id"] for place in chosen]),
        features={name: values[np.append(chosen, -1)] for name, values in catalogue.items()},
        frequencies=np.ones(len(chosen), np.int64),
        display={},
    )
    return Chorus(schema, table, lists, queries)


def _items(products: Sequence[dict[str, Any]], chosen: Array, encode: Encode) -> dict[str, Array]:
    """Raw columns of the catalogue, with a last product of which nothing is known; only some need vectors."""
    columns: dict[str, Array] = {"price": np.array([*(product["price"] for product in products), np.nan], np.float32)}
    for name in _TEXTS:
        columns[name] = _texts([*(_text(product, name) for product in products), ""])
    joined = [" ".join(_text(product, name) for name in (*_TEXTS, "name")) for product in products]
    columns["text"] = _texts([*joined, ""])
    for name, text in (("title_vector", "title"), ("description_vector", "short_description")):
        found = encode(columns[text][chosen].tolist())
        columns[name] = np.full([len(products) + 1, found.shape[1]], np.nan, np.float32)
        columns[name][chosen] = found
    return columns


def _transform(features: FeaturesConfig, side: Side, raw: dict[str, Array]) -> dict[str, Array]:
    """Transformed features; none of these needs an analysis of the data."""
    kinds = raw_columns(features, side)
    sparse = {name: dense_to_sparse(tf.constant(values), kinds[name]) for name, values in raw.items()}
    return {name: values.numpy() for name, values in preprocessing_fn(features, side)(sparse).items()}


def _rows(query: dict[str, Array], number: int, items: Sequence[int], grades: Sequence[int]) -> dict[str, Array]:
    """One query's rows as ranking examples."""
    count = len(items)
    return {
        **{name: np.repeat(values[None], count, 0) for name, values in query.items()},
        ITEM_ROW: np.array(items, np.int64)[:, None],
        USER: np.full([count, 1], number, np.int64),
        TIMESTAMP: np.zeros([count, 1], np.int64),
        WEIGHT: np.ones([count, 1], np.float32),
        RETRIEVED: np.zeros([count, 1], np.int64),
        label_key(LABEL): np.array(grades, np.float32)[:, None],
    }


def _text(product: dict[str, Any], name: str) -> str:
    return str(product.get(name) or "")


def _texts(values: Sequence[str]) -> Array:
    out = np.empty(len(values), object)
    out[:] = values
    return out
