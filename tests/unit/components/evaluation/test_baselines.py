import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sparse

from crossrec.components.evaluation import baselines
from crossrec.components.evaluation.baselines import Ease, ItemCF, Popularity
from crossrec.components.evaluation.ragged import RaggedItems
from crossrec.components.evaluation.top_k import top_k_items


def nothing(rows):
    return RaggedItems.from_lists([[]] * rows)


@pytest.fixture
def train():
    generator = np.random.default_rng(0)
    return sparse.csr_matrix((generator.random((80, 25)) < 0.2).astype(float))


def test_top_k_breaks_ties_by_index_and_equals_a_full_sort():
    generator = np.random.default_rng(1)
    scores = generator.integers(0, 5, size=(60, 40)).astype(float)
    excluded = RaggedItems.from_lists([generator.choice(40, size=generator.integers(0, 38)) for _ in range(60)])
    for k in (1, 7, 40, 45):
        found = top_k_items(scores, k, excluded)
        for row in range(60):
            gone = set(excluded.items[excluded.offsets[row] : excluded.offsets[row + 1]].tolist())
            order = sorted((i for i in range(40) if i not in gone), key=lambda i: (-scores[row, i], i))
            assert found[row].tolist() == (order + [-1] * 45)[:k]


def test_top_k_of_nothing_and_wrong_input():
    assert top_k_items(np.zeros((0, 3)), 2, nothing(0)).shape == (0, 2)
    assert top_k_items(np.zeros((1, 2)), 3, RaggedItems.from_lists([[0, 1]])).tolist() == [[-1, -1, -1]]
    with pytest.raises(ValueError, match="k: 0"):
        top_k_items(np.zeros((1, 2)), 0, nothing(1))
    with pytest.raises(ValueError, match="excluded: 2 rows"):
        top_k_items(np.zeros((1, 2)), 1, nothing(2))
    with pytest.raises(ValueError, match="excluded: holds item 2; items go from 0 to 1"):
        top_k_items(np.zeros((1, 2)), 1, RaggedItems.from_lists([[2]]))


def test_popularity_counts_users_and_leaves_out_what_they_know():
    train = sparse.csr_matrix([[9, 1, 0, 1], [0, 1, 0, 1], [0, 1, 1, 0]])
    popularity = Popularity.fit(train)
    assert popularity.recommend(train, 2).tolist() == [[2, -1], [0, 2], [3, 0]]
    assert popularity.recommend(nothing(1), 4).tolist() == [[1, 3, 0, 2]]
    assert popularity.recommend(train, 1, nothing(3)).tolist() == [[1], [1], [1]]


@pytest.mark.parametrize("kind", ["popularity", "item_cf", "ease"])
def test_every_baseline_leaves_out_the_history_unless_told_otherwise(train, kind):
    baseline = {"popularity": Popularity, "item_cf": ItemCF, "ease": Ease}[kind].fit(train)
    known = train.toarray() > 0
    for row, items in enumerate(baseline.recommend(train, 10)):
        assert not known[row, items[items >= 0]].any()
        assert len(set(items.tolist())) == 10
    free = baseline.recommend(train, 25, nothing(80))
    assert (np.sort(free, axis=1) == np.arange(25)).all()


@pytest.mark.parametrize("kind", ["popularity", "item_cf", "ease"])
def test_chunks_and_the_form_of_the_history_do_not_change_the_lists(train, kind, monkeypatch):
    baseline = {"popularity": Popularity, "item_cf": ItemCF, "ease": Ease}[kind].fit(train)
    whole = baseline.recommend(train, 5)
    monkeypatch.setattr(baselines, "_SCORES_PER_CHUNK", 7 * 25)
    np.testing.assert_array_equal(baseline.recommend(train, 5), whole)
    np.testing.assert_array_equal(baseline.recommend(RaggedItems.from_sparse(train), 5), whole)
    one_by_one = np.concatenate([baseline.recommend(train[i : i + 1], 5) for i in range(80)])
    np.testing.assert_array_equal(one_by_one, whole)
    assert baseline.recommend(train[:0], 5).shape == (0, 5)


@pytest.mark.parametrize("counts", [False, True])
def test_item_cf_is_cosine_without_the_item_itself(train, counts):
    if counts:
        train = train.multiply(np.random.default_rng(1).integers(1, 4, size=train.shape)).tocsr()
    dense = train.toarray()
    norms = np.linalg.norm(dense, axis=0)
    cosine = dense.T @ dense / np.outer(norms, norms)
    np.fill_diagonal(cosine, 0)
    expected = top_k_items(np.round(dense @ cosine, 9), 5, RaggedItems.from_sparse(train))
    np.testing.assert_array_equal(ItemCF.fit(train).recommend(train, 5), expected)


def test_item_cf_with_neighbours_lets_each_items_nearest_speak_for_it():
    # Item 0 is nearest to 1; 2 is near to both, and a little nearer to 1.
    train = sparse.csr_matrix([[1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 1, 0]])
    dense = train.toarray()
    norms = np.linalg.norm(dense, axis=0)
    cosine = dense.T @ dense / np.outer(norms, norms)
    one = ItemCF.fit(train, neighbours=1)
    weights = one._weights.toarray()
    assert weights[1, 0] == pytest.approx(cosine[1, 0]) and weights[2, 0] == 0
    assert weights[1, 2] == pytest.approx(cosine[1, 2]) and weights[0, 2] == 0
    assert (np.count_nonzero(weights, axis=0) == 1).all()
    everything = ItemCF.fit(train, neighbours=10)._weights.toarray()
    np.testing.assert_allclose(everything, ItemCF.fit(train)._weights.toarray())


def test_item_cf_of_an_item_nobody_has():
    train = sparse.csr_matrix([[1, 0, 1], [1, 0, 0]])
    assert ItemCF.fit(train).recommend(train, 2).tolist() == [[1, -1], [2, 1]]


def test_ease_is_the_minimum_with_a_zero_diagonal(train):
    l2 = 20.0
    ease = Ease.fit(train, l2=l2)
    dense = train.toarray()
    weights = ease.weights
    assert (np.diag(weights) == 0).all()
    # At the minimum the gradient of ||X - XB||^2 + l2 ||B||^2 vanishes everywhere but on the diagonal.
    gradient = dense.T @ (dense @ weights - dense) + l2 * weights
    off_diagonal = gradient - np.diag(np.diag(gradient))
    np.testing.assert_allclose(off_diagonal, 0, atol=1e-9)

    def loss(b):
        return ((dense - dense @ b) ** 2).sum() + l2 * (b**2).sum()

    generator = np.random.default_rng(2)
    for _ in range(5):
        step = generator.normal(scale=1e-3, size=weights.shape)
        np.fill_diagonal(step, 0)
        assert loss(weights + step) > loss(weights)


def test_ease_does_not_depend_on_the_order_of_users_and_follows_the_items(train):
    generator = np.random.default_rng(3)
    users, items = generator.permutation(80), generator.permutation(25)
    weights = Ease.fit(train).weights
    np.testing.assert_allclose(Ease.fit(train[users]).weights, weights, atol=1e-12)
    np.testing.assert_allclose(Ease.fit(train[:, items]).weights, weights[np.ix_(items, items)], atol=1e-12)


def test_strong_regularisation_silences_ease(train):
    assert np.abs(Ease.fit(train, l2=1e9).weights).max() < 1e-6


def test_wrong_input_is_refused(train):
    with pytest.raises(ValueError, match="train: 20001 items.*limited to 20000; keep the most frequent"):
        Ease.fit(sparse.csr_matrix((2, 20_001)))
    with pytest.raises(ValueError, match="l2: 0"):
        Ease.fit(train, l2=0)
    with pytest.raises(ValueError, match="neighbours: 0"):
        ItemCF.fit(train, neighbours=0)
    with pytest.raises(ValueError, match="history: 3 columns, but the baseline was fitted on 25"):
        ItemCF.fit(train).recommend(sparse.csr_matrix((1, 3)), 2)


def test_popularity_and_metrics_work_without_scipy_and_the_others_name_the_extra():
    code = """
import sys
sys.modules["scipy"] = None  # any import of it fails
import numpy as np
from crossrec.components.evaluation.baselines import Ease, ItemCF, Popularity
from crossrec.components.evaluation.metrics import RaggedItems, ranking_metrics
history = RaggedItems.from_lists([[0], []])
top = Popularity([3, 2, 1]).recommend(history, 2)
print(ranking_metrics(top, RaggedItems.from_lists([[1], [2]]), [2])["recall@2"].tolist())
for kind in (ItemCF, Ease):
    try:
        kind.fit(np.zeros((2, 3)))
    except ImportError as error:
        assert "crossrec[dev]" in str(error), error
    else:
        raise AssertionError(kind)
assert "tensorflow" not in sys.modules and "pandas" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[1.0, 0.0]"
