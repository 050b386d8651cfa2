r"""How well the words of a query match an item's texts: BM25 and its relatives.

With :math:`N` items that have a text, :math:`n_t` of them with the term :math:`t`, its occurrences :math:`f_{tc}` in
text :math:`c` of an item, that text's length :math:`l_c` in terms, the mean length :math:`\bar l_c` over the items that
have one, and the weights :math:`w_c`,

.. math:: idf_t = \ln\left(1 + \frac{N - n_t + 0.5}{n_t + 0.5}\right), \quad
    f_t = \sum_c \frac{w_c f_{tc}}{1 - b + b\, l_c / \bar l_c}, \quad
    bm25 = \sum_t idf_t \frac{(k_1 + 1) f_t}{k_1 + f_t}

(Robertson, Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond"; several texts of an item are
weighed before they saturate, as in Robertson, Zaragoza, Taylor 2004, "Simple BM25 extension to multiple weighted
fields"). The 1 in the logarithm, which Lucene adds too, keeps the weight of a term that most items have above 0.

Terms are the ids of hashed words, and where the features have n-grams, those as well: each has a weight of its own and
counts in the lengths. Terms that share an id count as one, in texts and queries alike. A term counts once in a query,
however often it stands there: the limit :math:`k_3 = 0` of Robertson, Walker, Jones, Hancock-Beaulieu, Gatford 1994,
"Okapi at TREC-3". Words behind a feature's ``max_tokens`` are neither found nor counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from crossrec.components.features.crosses.config import BM25Cross
from crossrec.components.features.crosses.counts import Array, KeyedCounts
from crossrec.components.features.crosses.hashing import PADDING
from crossrec.components.features.crosses.multi_valued import once, once_numpy
from crossrec.components.features.crosses.vocabulary import look_up, look_up_numpy

_ROWS = 2**15
# Padding of the query, unlike that of the texts, so that they do not match.
_NO_TERM = -2


@dataclass(frozen=True)
class TermTable:
    """The terms of the catalogue.

    Attributes:
        keys: int64 ``[n]``, ids of the terms that items have, ascending; at least one.
        idf: float32 ``[n + 1]``, weights of the terms; the first one is that of terms that no item has.
        lengths: float32 ``[texts]``, mean length of each text over the items that have it, in terms.
    """

    keys: Array
    idf: Array
    lengths: Array


def fit_terms(texts: Sequence[Array]) -> TermTable:
    """The terms of a catalogue.

    Args:
        texts: Of each text, the items' terms int64 ``[N, width]``; -1 is padding.
    """
    counts, items = KeyedCounts(1), 0
    for start in range(0, len(texts[0]), _ROWS):
        terms = once_numpy(np.concatenate([text[start : start + _ROWS] for text in texts], 1))
        present = terms[terms != PADDING]
        counts.add(present, np.ones((len(present), 1), np.int64))
        items += int((terms != PADDING).any(1).sum())
    keys, sums = counts.sums()
    found = np.concatenate([[0], sums[:, 0]]).astype(np.float64)
    if not len(keys):
        # A search needs something to search in; no term has the id 0.
        keys, found = np.zeros(1, np.int64), np.zeros(2)
    lengths = [(text != PADDING).sum(1) for text in texts]
    means = [own.sum() / max(np.count_nonzero(own), 1) for own in lengths]
    return TermTable(
        keys=keys,
        idf=np.log1p((items - found + 0.5) / (found + 0.5)).astype(np.float32),
        lengths=np.maximum(means, 1.0).astype(np.float32),
    )


def bm25(
    query: tf.Tensor, texts: Sequence[tf.Tensor], table: tuple[tf.Tensor, tf.Tensor, tf.Tensor], config: BM25Cross
) -> tf.Tensor:
    """How well queries match items.

    Args:
        query: The query's terms, int64 ``[..., width]``; -1 is padding.
        texts: The terms of each text of the item, int64 ``[..., width]``; leading dimensions are broadcast.
        table: Keys, weights and mean lengths of a TermTable.
        config: Parameters and measures.

    Returns:
        float32 ``[..., len(measures)]``; zeros where the query has no terms.
    """
    keys, idf, lengths = table
    terms = once(query)
    valid = terms >= 0
    weights = tf.where(valid, tf.gather(tf.convert_to_tensor(idf), tf.maximum(look_up(terms, keys), 0)), 0.0)
    wanted = tf.where(valid, terms, tf.constant(_NO_TERM, tf.int64))[..., None]
    frequencies = []
    for place, (text, weight) in enumerate(zip(texts, config.field_weights)):
        own = tf.reduce_sum(tf.cast(text >= 0, tf.float32), -1, keepdims=True)
        occurrences = tf.reduce_sum(tf.cast(tf.equal(wanted, text[..., None, :]), tf.float32), -1)
        # With b = 1 a text without terms has no length to divide by, and no occurrences either.
        frequencies.append(
            weight * tf.math.divide_no_nan(occurrences, 1.0 - config.b + config.b * own / lengths[place])
        )
    frequency = tf.add_n(frequencies)
    most = tf.reduce_sum(weights, -1)
    score = tf.reduce_sum(weights * (config.k1 + 1.0) * tf.math.divide_no_nan(frequency, config.k1 + frequency), -1)
    inside = frequency > 0
    found = {
        "bm25": score,
        "share": tf.math.divide_no_nan(score, (config.k1 + 1.0) * most),
        "coverage": tf.math.divide_no_nan(tf.reduce_sum(tf.where(inside, weights, 0.0), -1), most),
        "matched": tf.cast(tf.reduce_all(inside | ~valid, -1) & tf.reduce_any(valid, -1), tf.float32),
    }
    return tf.stack([found[measure] for measure in config.measures], -1)


def bm25_numpy(query: Array, texts: Sequence[Array], table: TermTable, config: BM25Cross) -> Array:
    """The same as :func:`bm25` in float64, as the reference implementation.

    Args:
        query: int64 ``[n, width]``; -1 is padding.
        texts: Of each text int64 ``[n, width]``.
        table: The terms of the catalogue.
        config: Parameters and measures.

    Returns:
        float32 ``[n, len(measures)]``.
    """
    out = np.zeros((len(query), len(config.measures)), np.float32)
    for row, words in enumerate(query):
        terms = np.unique(words[words != PADDING])
        if not len(terms):
            continue
        weights = table.idf[look_up_numpy(terms, table.keys)].astype(np.float64)
        frequency = np.zeros(len(terms))
        for text, mean, weight in zip(texts, table.lengths, config.field_weights):
            own = text[row][text[row] != PADDING]
            if len(own):
                norm = 1.0 - config.b + config.b * len(own) / float(mean)
                frequency += weight * (own[None] == terms[:, None]).sum(1) / norm
        inside = frequency > 0
        score = (config.k1 + 1.0) * (weights[inside] * frequency[inside] / (config.k1 + frequency[inside])).sum()
        found = {
            "bm25": score,
            "share": score / (config.k1 + 1.0) / weights.sum(),
            "coverage": weights[inside].sum() / weights.sum(),
            "matched": float(inside.all()),
        }
        out[row] = [found[measure] for measure in config.measures]
    return out
