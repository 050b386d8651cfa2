"""What is shown: the logging policy of the marketplace, whose choices the interactions record.

It collects candidates from the groups that the query names, from the user's interests and from what is popular,
and orders them by lexical match, popularity, a little of the user's taste, and noise. It knows nothing of
the planted crosses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .catalogue import Catalogue
from .postings import (
    EVERYTHING,
    Postings,
    brand_group,
    category_attribute_group,
    category_brand_group,
    category_group,
)
from .queries import Queries
from .sessions import RequestArray
from .users import Users

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


class Impressions(NamedTuple):
    """What was shown, one row per item shown, requests in order; m rows."""

    request: IntArray  # [m] number of the request within the window
    item: IntArray  # [m]
    position: IntArray  # [m] from 1


def _candidates(
    rng: np.random.Generator, requests: RequestArray, queries: Queries, users: Users, postings: Postings
) -> tuple[IntArray, int]:
    """Collect candidates: [n, k], of which the last columns, whose number is returned, only fill up."""
    times = requests["time"]
    shown = int(requests["shown"].max())
    count = len(requests)
    interests = users.interests[requests["user"]]
    interest = interests[np.arange(count), rng.integers(0, interests.shape[1], size=count)].astype(np.int64)
    likes = np.where(interest >= 0, category_group(interest), EVERYTHING)
    # Without a query, what the visitor came for is only a guess of the marketplace: half of the pages know.
    guess = np.where(rng.random(count) < 0.5, category_group(requests["category"]), likes)
    category = np.where(queries.category >= 0, category_group(queries.category), guess)
    category = np.where((queries.category < 0) & (queries.brand >= 0), brand_group(queries.brand), category)
    brand = np.where(
        (queries.brand >= 0) & (queries.category >= 0),
        category_brand_group(queries.category, queries.brand),
        np.where(queries.browsing, EVERYTHING, category),
    )
    attribute = np.where(
        queries.attributes[:, 0] >= 0,
        category_attribute_group(queries.category, queries.attributes[:, 0]),
        np.where(queries.browsing, likes, category),
    )
    everything = postings.run(np.full(count, EVERYTHING), times)
    drawn = [
        postings.draw(rng, postings.run(category, times), 2 * shown),
        postings.draw(rng, postings.run(brand, times), shown // 2 + 1),
        postings.draw(rng, postings.run(attribute, times), shown // 2 + 1),
        postings.draw(rng, postings.run(likes, times), shown // 4 + 1),
        postings.draw(rng, everything, shown // 4 + 1),
        postings.consecutive(rng, everything, shown),
    ]
    return np.concatenate(drawn, axis=1), shown


def lexical_match(
    queries: Queries, request: IntArray, catalogue: Catalogue, item: IntArray
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], IntArray]:
    """Compare queries and items.

    Args:
        queries: what requests ask for.
        request: request numbers, of a shape that broadcasts with `item`.
        catalogue: the items.
        item: item numbers.

    Returns:
        Whether the category matches, whether the brand matches, how many attribute words match.
    """
    category = queries.category[request] == catalogue.category[item]
    brand = queries.brand[request] == catalogue.brand[item]
    attributes = np.zeros(np.broadcast(request, item).shape, dtype=np.int64)
    for word in range(queries.attributes.shape[1]):
        said = queries.attributes[request, word]
        has = (catalogue.attributes[item] == said[..., None]).any(axis=-1)
        attributes += has & (said >= 0)
    return category, brand, attributes


def over_budget(
    requests: RequestArray, request: IntArray, catalogue: Catalogue, item: IntArray
) -> npt.NDArray[np.bool_]:
    """Return which items cost more than the request's filter; no filter or no price never does."""
    return np.asarray(catalogue.price[item] > requests["price_max"][request])


def show(
    rng: np.random.Generator,
    requests: RequestArray,
    queries: Queries,
    users: Users,
    world: tuple[Catalogue, Postings, FloatArray],
) -> Impressions:
    """Choose what every request shows.

    Args:
        rng: source of randomness.
        requests: n requests; `shown` says how many items each shows.
        queries: what they ask for.
        users: the user population.
        world: the items, their postings, and their present log popularity [I].

    Returns:
        Impressions; within a request no item occurs twice.
    """
    catalogue, postings, log_weights = world
    items, fillers = _candidates(rng, requests, queries, users, postings)
    request = np.arange(len(requests))[:, None]
    category, brand, attributes = lexical_match(queries, request, catalogue, items)
    taste = np.einsum("nt,nkt->nk", users.taste[requests["user"]], catalogue.taste[items], optimize=True)
    score = 2.5 * category + 2.0 * brand + 1.2 * attributes + 0.5 * log_weights[items] + 0.15 * taste
    score -= 2.5 * over_budget(requests, request, catalogue, items)
    score += rng.gumbel(scale=0.6, size=score.shape)
    score[:, -fillers:] -= 1_000.0
    # Doubles of a candidate, found as equal neighbours after sorting, keep their first column only.
    order = np.argsort(items, axis=1, kind="stable")
    in_order = np.take_along_axis(items, order, axis=1)
    double = np.zeros(items.shape, dtype=bool)
    np.put_along_axis(double, order[:, 1:], in_order[:, 1:] == in_order[:, :-1], axis=1)
    score[double] = -np.inf
    most = int(requests["shown"].max())
    top = np.argsort(-score, axis=1, kind="stable")[:, :most]
    kept = np.arange(most)[None, :] < requests["shown"][:, None]
    row, column = np.nonzero(kept)
    return Impressions(row, np.take_along_axis(items, top, axis=1)[kept], column + 1)
