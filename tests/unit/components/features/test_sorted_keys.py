import numpy as np
import pytest

from crossrec.components.features.sorted_keys import find


@pytest.mark.parametrize("kind", [np.int64, "S8"])
def test_values_are_found_where_they_stand(kind):
    rng = np.random.default_rng(0)
    keys = np.unique(rng.integers(0, 200, 60).astype(kind))
    values = rng.integers(0, 220, (7, 9)).astype(kind)
    places = {key: place for place, key in enumerate(keys.tolist())}
    assert find(keys, values).tolist() == [[places.get(value, -1) for value in row] for row in values.tolist()]


def test_nothing_is_found_among_no_keys():
    assert find(np.empty(0, np.int64), np.array([[3, 4]])).tolist() == [[-1, -1]]
    assert find(np.array([3]), np.empty((0, 2), np.int64)).shape == (0, 2)
