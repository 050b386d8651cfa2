import itertools

import numpy as np
import pytest

from crossrec.components.features.schema import (
    CANDIDATE,
    ITEM_ROW,
    POSITION,
    RETRIEVAL_SCORE,
    RETRIEVED,
    USER,
    WEIGHT,
    label_key,
)
from crossrec.components.ranking_examples.config import RankingExamplesConfig
from crossrec.components.ranking_examples.sampling import Drawable, ranking_rows
from crossrec.components.ranking_trainer.config import NegativesConfig

ITEMS = 40


EVERY = np.arange(-1, ITEMS)
NOBODY = Drawable.of(np.zeros(0, np.int64), np.zeros(0, np.int64), EVERY)


def test_all_but_positives_and_items_that_nobody_was_shown_may_be_drawn():
    rng = np.random.default_rng(0)
    users = rng.choice(rng.integers(0, 2**62, 30), 200)
    rows = rng.integers(-1, ITEMS, 200)
    logged = np.append(rng.permutation(ITEMS)[: ITEMS // 2], -1)
    drawable = Drawable.of(users, rows, logged)
    given, shown = set(zip(users.tolist(), rows.tolist())), set(logged.tolist())
    asked = np.unique(users)
    found = drawable.allows(asked, np.tile(np.arange(-1, ITEMS), (len(asked), 1)))
    for (i, user), (j, row) in itertools.product(enumerate(asked.tolist()), enumerate(range(-1, ITEMS))):
        assert found[i, j] == ((user, row) not in given and row >= 0 and row in shown)


def test_no_positives_and_no_rows():
    assert NOBODY.allows(np.array([1, 2]), np.array([[0, -1], [1, 2]])).tolist() == [[True, False], [True, True]]
    assert NOBODY.allows(np.zeros(0, np.int64), np.zeros((0, 3), np.int64)).shape == (0, 3)
    nothing = np.zeros(0, np.int64)
    assert not Drawable.of(nothing, nothing, nothing).allows(np.array([1]), np.array([[0, 1]])).any()


def batch_of(rows, positives, seed=0):
    rng = np.random.default_rng(seed)
    clicked = np.zeros((rows, 1), np.float32)
    clicked[rng.permutation(rows)[:positives]] = 1.0
    return {
        "feature": np.arange(rows)[:, None],
        "words": rng.integers(0, 9, (rows, 3)),
        USER: rng.integers(0, 2**62, 12)[rng.integers(0, 12, rows)][:, None],
        ITEM_ROW: rng.integers(0, ITEMS, (rows, 1)),
        POSITION: rng.integers(1, 9, (rows, 1)),
        label_key("clicked"): clicked,
        label_key("bought"): clicked * rng.integers(0, 2, (rows, 1)).astype(np.float32),
    }


def searcher(top, short_by=0):
    """A retrieval of fixed scores: item r for query f scores -|r - f mod ITEMS|."""

    def search(batch, rows):
        centre = batch["feature"] % ITEMS
        scores = -np.abs(np.arange(ITEMS)[None] - centre).astype(np.float32)
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        best = np.take_along_axis(scores, nearest, 1)
        if short_by:
            nearest[:, -short_by:], best[:, -short_by:] = -1, -np.inf
        return np.take_along_axis(scores, rows, 1), best, nearest

    return search


def make(batch, retrieved, top, seed=0, weight=1.0, short_by=0, drawable=None):
    positive = batch[label_key("clicked")][:, 0] > 0
    drawable = drawable or Drawable.of(batch[USER][positive, 0], batch[ITEM_ROW][positive, 0], EVERY)
    config = RankingExamplesConfig(
        label="clicked", negatives=NegativesConfig(retrieved=retrieved, from_top=top, weight=weight)
    )
    return ranking_rows(batch, searcher(top, short_by), drawable, config, np.random.default_rng(seed))


def test_logged_rows_stay_as_they_are_with_their_retrieval_score():
    batch = batch_of(60, 20)
    made = make(batch, 2, 10)
    for name, values in batch.items():
        np.testing.assert_array_equal(made[name][:60], values)
    own = -np.abs(batch[ITEM_ROW] - batch["feature"] % ITEMS)
    np.testing.assert_array_equal(made[RETRIEVAL_SCORE][:60], own)
    assert (made[WEIGHT][:60] == 1).all() and (made[RETRIEVED][:60] == 0).all()
    assert {values.ndim for values in made.values()} == {2}
    assert made[RETRIEVAL_SCORE].dtype == made[WEIGHT].dtype == np.float32 and made[RETRIEVED].dtype == np.int64


def test_a_logged_row_is_a_candidate_if_retrieval_would_have_handed_it_on():
    batch = batch_of(200, 80)
    made = make(batch, 1, 10)
    _, best, _ = searcher(10)(batch, batch[ITEM_ROW])
    own = -np.abs(batch[ITEM_ROW] - batch["feature"] % ITEMS)
    np.testing.assert_array_equal(made[CANDIDATE][:200, 0], (own[:, 0] >= best[:, -1]).astype(int))
    assert 0 < made[CANDIDATE][:200].mean() < 1 and (made[CANDIDATE][200:] == 1).all()
    assert (make(batch, 1, 10, short_by=1)[CANDIDATE] == 1).all(), "a short list is the whole catalogue"


def test_negatives_come_from_the_top_and_are_never_known_positives():
    batch = batch_of(200, 80)
    made = make(batch, 3, 10, weight=0.25)
    positive = batch[label_key("clicked")][:, 0] > 0
    taken = set(zip(batch[USER][positive, 0].tolist(), batch[ITEM_ROW][positive, 0].tolist()))
    negatives = {name: values[200:] for name, values in made.items()}
    count = len(negatives[WEIGHT])
    assert 80 < count <= 240
    for n in range(count):
        user, row, query = (int(negatives[name][n, 0]) for name in (USER, ITEM_ROW, "feature"))
        assert positive[query], "a negative stands beside a positive"
        assert (user, row) not in taken
        assert row in searcher(10)({"feature": np.array([[query]])}, np.array([[0]]))[2]
        assert negatives[RETRIEVAL_SCORE][n, 0] == -abs(row - query % ITEMS)
        np.testing.assert_array_equal(negatives["words"][n], batch["words"][query])
    assert (negatives[label_key("clicked")] == 0).all() and (negatives[label_key("bought")] == 0).all()
    assert (negatives[WEIGHT] == 0.25).all() and (negatives[RETRIEVED] == 1).all() and (negatives[POSITION] == 0).all()
    pairs = list(zip(negatives["feature"][:, 0].tolist(), negatives[ITEM_ROW][:, 0].tolist()))
    assert len(set(pairs)) == len(pairs), "without replacement"


def test_every_free_candidate_has_the_same_chance():
    batch = batch_of(1, 1)
    drawn = [int(make(batch, 1, 5, seed, drawable=NOBODY)[ITEM_ROW][1, 0]) for seed in range(1000)]
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == 5 and ((counts - 200) ** 2 / 200).sum() < 20


def test_the_choice_follows_the_seed():
    batch = batch_of(50, 30)
    first, again, other = make(batch, 2, 20, 5), make(batch, 2, 20, 5), make(batch, 2, 20, 6)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first[ITEM_ROW] != other[ITEM_ROW]).any()


@pytest.mark.parametrize(("positives", "retrieved"), [(0, 3), (30, 0)])
def test_without_positives_or_wish_there_are_logged_rows_only(positives, retrieved):
    made = make(batch_of(50, positives), retrieved, 20)
    assert {len(values) for values in made.values()} == {50}


def test_fewer_candidates_than_wanted_give_fewer_negatives():
    batch = batch_of(30, 30)
    assert len(make(batch, 50, 4)[WEIGHT]) <= 30 + 30 * 4
    short = make(batch, 50, 4, short_by=3)
    assert len(short[WEIGHT]) <= 60 and (short[ITEM_ROW] >= 0).all() and np.isfinite(short[RETRIEVAL_SCORE]).all()


def test_a_user_who_knows_everything_gets_no_negative():
    batch = batch_of(20, 20)
    users, rows = (a.reshape(-1) for a in np.meshgrid(np.unique(batch[USER]), np.arange(ITEMS)))
    assert len(make(batch, 3, 10, drawable=Drawable.of(users, rows, EVERY))[WEIGHT]) == 20
