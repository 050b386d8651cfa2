"""What users type: words of the category, the brand and the attributes of an item that they have in mind."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from . import vocabulary
from .catalogue import Catalogue
from .postings import Postings, category_group
from .sessions import RequestArray

IntArray = npt.NDArray[np.int64]

_SHARE_BROWSING = 0.25
_SHARE_BRAND = 0.25
_SHARE_ATTRIBUTE = 0.4
_SHARE_SECOND_ATTRIBUTE = 0.12
_SHARE_BRAND_ALONE = 0.15  # of the queries with a brand
_NOUN_SHARES = (0.45, 0.18, 0.17, 0.1, 0.1)
_SHORT_FORM = vocabulary.NOUNS_PER_CATEGORY

# [C * 5] the nouns of every category and then its short form.
_QUERY_NOUNS = pa.array([word for entry in vocabulary.CATEGORIES for word in (*entry.nouns, entry.short)])
_TITLE_NOUNS = pa.array([word for entry in vocabulary.CATEGORIES for word in entry.nouns])
_BRANDS = pa.array(vocabulary.BRANDS)
_ATTRIBUTES = pa.array(vocabulary.ATTRIBUTES)


class Queries(NamedTuple):
    """What each of n requests asks for; -1 = not mentioned."""

    category: IntArray  # [n] the category whose noun is in the query; -1 when browsing or naming a brand only
    noun: IntArray  # [n] which noun, 4 = the short form
    brand: IntArray  # [n]
    attributes: IntArray  # [n, 2]

    @property
    def browsing(self) -> npt.NDArray[np.bool_]:
        """Which requests have no query at all, [n]."""
        return (self.category < 0) & (self.brand < 0)

    def texts(self) -> pa.Array:
        """Return the queries as text, string [n]; "" when browsing."""
        words = (
            take_words(_BRANDS, self.brand),
            take_words(_ATTRIBUTES, self.attributes[:, 0]),
            take_words(_ATTRIBUTES, self.attributes[:, 1]),
            take_words(_QUERY_NOUNS, np.where(self.category < 0, -1, self.category * 5 + self.noun)),
        )
        # An empty first word, because some versions of Arrow drop rows in which every word is null.
        empty = pa.array([""] * len(self.brand))
        return pc.utf8_ltrim_whitespace(pc.binary_join_element_wise(empty, *words, " ", null_handling="skip"))


def take_words(words: pa.Array, codes: npt.NDArray[np.signedinteger[Any]]) -> pa.Array:
    """Return the words of codes, null for -1: string [n]."""
    return words.take(pa.array(codes, mask=codes < 0))


def make_queries(rng: np.random.Generator, requests: RequestArray, catalogue: Catalogue, postings: Postings) -> Queries:
    """Draw what users type.

    A user who searches has an item of the intended category in mind, a popular one rather than not, and
    describes it: the noun of its category, and sometimes its brand or words of its title.

    Args:
        rng: source of randomness.
        requests: n requests.
        catalogue: the items.
        postings: where to draw the item from.
    """
    count = len(requests)
    run = postings.run(category_group(requests["category"]), requests["time"])
    wanted = postings.draw(rng, run, 1)[:, 0]
    category = catalogue.category[wanted].astype(np.int64)
    slots = catalogue.attributes.shape[1]
    # Two different slots, so that no word is said twice.
    first = rng.integers(0, slots, size=count)
    second = (first + rng.integers(1, slots, size=count)) % slots
    says_first = rng.random(count) < _SHARE_ATTRIBUTE
    says_second = says_first & (rng.random(count) < _SHARE_SECOND_ATTRIBUTE / _SHARE_ATTRIBUTE)
    attributes = np.stack(
        [
            np.where(says_first, catalogue.attributes[wanted, first], -1),
            np.where(says_second, catalogue.attributes[wanted, second], -1),
        ],
        axis=1,
    ).astype(np.int64)
    brand = np.where(rng.random(count) < _SHARE_BRAND, catalogue.brand[wanted], -1).astype(np.int64)
    browsing = rng.random(count) < _SHARE_BROWSING
    brand[browsing] = -1
    brand_alone = (brand >= 0) & (rng.random(count) < _SHARE_BRAND_ALONE)
    attributes[browsing | brand_alone] = -1
    category[browsing | brand_alone] = -1
    noun = rng.choice(len(_NOUN_SHARES), size=count, p=_NOUN_SHARES).astype(np.int64)
    return Queries(category, noun, brand, attributes)


def title_texts(catalogue: Catalogue, begin: int, end: int) -> pa.Array:
    """Return the titles of a run of items.

    Args:
        catalogue: the items.
        begin: first item.
        end: one past the last item.

    Returns:
        Titles, string [end - begin]: brand, size, colour, material, feature, noun, model number, as far as the
        item has them; every third title names the noun first.
    """
    rows = slice(begin, end)
    category = catalogue.category[rows].astype(np.int64)
    brand = take_words(_BRANDS, catalogue.brand[rows])
    noun = take_words(_TITLE_NOUNS, category * vocabulary.NOUNS_PER_CATEGORY + catalogue.noun[rows])
    colour, material, size, feature = (
        take_words(_ATTRIBUTES, catalogue.attributes[rows, slot]) for slot in range(catalogue.attributes.shape[1])
    )
    models = pa.array([f"{chr(65 + number // 100)}{number % 100:02d}" for number in range(2_600)])
    model = take_words(models, catalogue.model[rows])
    usual = pc.binary_join_element_wise(brand, size, colour, material, feature, noun, model, " ", null_handling="skip")
    noun_first = pc.binary_join_element_wise(
        noun, brand, model, feature, material, size, colour, " ", null_handling="skip"
    )
    return pc.if_else(pa.array(catalogue.model[rows] % 3 == 0), noun_first, usual)


def noun_matches(queries: Queries, request: IntArray, catalogue: Catalogue, item: IntArray) -> npt.NDArray[np.bool_]:
    """Return whether title and query use the very same noun, for m pairs of a request and an item: bool [m]."""
    noun = queries.noun[request]
    same = (noun == catalogue.noun[item]) & (noun != _SHORT_FORM)
    return np.asarray(same & (queries.category[request] == catalogue.category[item]))
