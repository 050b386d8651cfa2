"""Parts of equal size, centres and nearest centres, on however many threads."""

import numpy as np
import pytest

from crossrec.components import threads
from crossrec.components.modeling import k_means

RNG = np.random.default_rng(0)
VECTORS = (RNG.normal(size=(40, 8))[RNG.integers(0, 40, 9000)] + 0.3 * RNG.normal(size=(9000, 8))).astype(np.float32)
# Larger than the sample that a part is halved by, so that chance has a hand in it, too.
assert len(VECTORS) > 2 * k_means._SAMPLE


@pytest.fixture(params=[1, 2, 5])
def workers(request, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: request.param)
    return request.param


def test_parts_are_of_equal_size_and_lie_together():
    leaves = k_means.halves(VECTORS, 37, seed=0)
    sizes = np.bincount(leaves, minlength=37)
    # Each of at most six halvings rounds by a half at most.
    assert sizes.sum() == 9000 and np.abs(sizes - 9000 / 37).max() <= 1.0
    centres = k_means.means(VECTORS, leaves, 37)
    within = ((VECTORS - centres[leaves]) ** 2).sum() / ((VECTORS - VECTORS.mean(0)) ** 2).sum()
    by_chance = RNG.permutation(leaves)
    scattered = ((VECTORS - k_means.means(VECTORS, by_chance, 37)[by_chance]) ** 2).sum()
    assert within < 0.5 * scattered / ((VECTORS - VECTORS.mean(0)) ** 2).sum()


def test_parts_do_not_depend_on_the_number_of_threads(workers):
    leaves = k_means.halves(VECTORS, 37, seed=3)
    centres = k_means.means(VECTORS, leaves, 300)
    near = k_means.nearest(VECTORS, np.arange(9000), centres[:37], 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "cores", lambda: 3)
        np.testing.assert_array_equal(leaves, k_means.halves(VECTORS, 37, seed=3))
        np.testing.assert_array_equal(centres, k_means.means(VECTORS, leaves, 300))
        again = k_means.nearest(VECTORS, np.arange(9000), centres[:37], 2)
    for left, right in zip(near, again):
        np.testing.assert_array_equal(left, right)


def test_two_clusters_are_told_apart_by_hand():
    vectors = np.array([[0, 0], [9, 9], [0, 1], [9, 8], [1, 0]], np.float32)
    leaves = k_means.halves(vectors, 2, seed=0)
    near = leaves == leaves[0]
    # Five in two parts: two and three, and the fifth of the larger cluster goes with the others.
    assert sorted(np.bincount(leaves)) == [2, 3]
    assert near.tolist() in ([True, False, True, False, True], [True, False, True, False, False])


def test_equal_vectors_keep_their_order():
    leaves = k_means.halves(np.ones((10, 3), np.float32), 2, seed=0)
    assert leaves.tolist() == [0] * 5 + [1] * 5
    low = k_means._lowest(np.array([2, 1, 1, 0, 1], np.float32), 3)
    assert low.tolist() == [False, True, True, True, False]


def test_one_part_and_as_many_parts_as_vectors():
    assert k_means.halves(VECTORS[:5], 1, seed=0).tolist() == [0] * 5
    assert sorted(k_means.halves(VECTORS[:5], 5, seed=0)) == [0, 1, 2, 3, 4]


def test_means_are_those_of_the_members_and_empty_parts_keep_theirs():
    leaves = RNG.integers(0, 200, 9000)
    leaves[leaves == 7] = 8
    before = np.full((200, 8), 5, np.float32)
    found = k_means.means(VECTORS, leaves, 200, before)
    for part in range(200):
        members = VECTORS[leaves == part].astype(np.float64)
        expected = members.mean(0) if len(members) else before[part]
        np.testing.assert_allclose(found[part], expected, rtol=1e-5, atol=1e-6)
    assert (found[7] == 5).all() and (k_means.means(VECTORS, leaves, 200)[7] == 0).all()


@pytest.mark.parametrize("parts", [10, 2**16 + 1])
def test_rows_by_part_keep_their_order_within_it(parts):
    leaves = RNG.integers(parts - 10, parts, 500)
    np.testing.assert_array_equal(k_means.by_part(leaves, parts), np.argsort(leaves, kind="stable"))


def test_nearest_is_by_euclidean_distance():
    centres = VECTORS[:50]
    rows = np.arange(100, 100 + k_means._ROWS + 5)
    near, places = k_means.nearest(VECTORS, rows, centres, 3)
    squares = ((VECTORS[rows, None].astype(np.float64) - centres[None]) ** 2).sum(-1)
    expected = np.argsort(squares, axis=1)[:, :3]
    chosen = np.take_along_axis(squares, places.astype(int), 1)
    np.testing.assert_allclose(chosen, np.take_along_axis(squares, expected, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(near, ((VECTORS[rows] ** 2).sum(1)[:, None] - chosen) / 2, rtol=1e-4, atol=1e-4)
