import numpy as np

from crossrec.components.example_gen.finish import _after_positive


def test_what_comes_after_a_positive_of_the_same_pair_is_found_and_nothing_else():
    rng = np.random.default_rng(0)
    for _ in range(50):
        users, items = rng.integers(0, 4, 40), rng.integers(0, 5, 40)
        positive = rng.random(40) < 0.4
        expected = [
            any(positive[j] and users[j] == users[i] and items[j] == items[i] for j in range(i)) for i in range(40)
        ]
        assert _after_positive(users, items, positive).tolist() == expected


def test_no_rows_have_no_repeats():
    nothing = np.zeros(0, np.int64)
    assert _after_positive(nothing, nothing, np.zeros(0, bool)).tolist() == []
